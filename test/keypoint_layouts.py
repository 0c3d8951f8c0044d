"""2D detections as other tools write them: one function per layout, `tool(folder, camera, frames)`.

`frames` has the people (P, J, 3) of each frame number; a function answers the file or folder of the camera.
"""

import json


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def openpose_person(keypoints):
    parts = {"face_keypoints_2d": [], "hand_left_keypoints_2d": [], "hand_right_keypoints_2d": []}
    body = keypoints
    if len(keypoints) == 137:
        body = keypoints[:25]
        parts = {
            "hand_left_keypoints_2d": keypoints[25:46].ravel().tolist(),
            "hand_right_keypoints_2d": keypoints[46:67].ravel().tolist(),
            "face_keypoints_2d": keypoints[67:].ravel().tolist(),
        }
    return {"person_id": [-1], "pose_keypoints_2d": body.ravel().tolist(), **parts}


def openpose(folder, camera, frames):
    for frame, people in frames.items():
        content = {"version": 1.3, "people": [openpose_person(keypoints) for keypoints in people]}
        write(folder / camera / f"{camera}_{frame:012d}_keypoints.json", content)
    return folder / camera


def pose2sim(folder, camera, frames):
    for frame, people in frames.items():
        content = {"version": 1.3, "people": [openpose_person(keypoints) for keypoints in people]}
        write(folder / f"{camera}_json" / f"{camera}_{frame:06d}.json", content)
    return folder / f"{camera}_json"


def entries(frames, image_id):
    return [
        {"image_id": image_id(frame), "category_id": 1, "keypoints": keypoints.ravel().tolist(), "score": 0.9}
        for frame, people in frames.items()
        for keypoints in people
    ]


def alphapose(folder, camera, frames):
    return write(folder / camera / "alphapose-results.json", entries(frames, lambda frame: f"{frame}.jpg"))


def coco(folder, camera, frames):
    return write(folder / f"{camera}.json", entries(frames, lambda frame: frame))


def instances(people):
    return [
        {
            "keypoints": keypoints[:, :2].tolist(),
            "keypoint_scores": keypoints[:, 2].tolist(),
            "bbox_score": 0.9,
        }
        for keypoints in people
    ]


def mmpose_video(folder, camera, frames):
    content = [{"frame_id": frame, "instances": instances(people)} for frame, people in frames.items()]
    return write(folder / f"{camera}.json", content)


def mmpose_demo(folder, camera, frames):
    content = [{"frame_id": frame, "instances": instances(people)} for frame, people in frames.items()]
    return write(folder / f"results_{camera}.json", {"meta_info": {}, "instance_info": content})


def mmpose_images(folder, camera, frames):
    for frame, people in frames.items():
        write(folder / camera / f"{frame:06d}.json", instances(people))
    return folder / camera
