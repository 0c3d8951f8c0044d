"""Readers of skeleton files that share nothing with their writers: written from the formats' descriptions."""

import re
import struct

import numpy as np

NAMES = {
    "hip": "UpLeg",
    "knee": "Leg",
    "ankle": "Foot",
    "shoulder": "Arm",
    "elbow": "ForeArm",
    "wrist": "Hand",
}


def bone_of(joint):
    """The bone that begins at a joint."""
    words = joint.split("_")
    if words[0] in ("left", "right") and words[1] in NAMES:
        return words[0].capitalize() + NAMES[words[1]]
    return "".join(word.capitalize() for word in words)


def read_bvh(path):
    """Positions (T, 3) of each bone's beginning by name, as the file has them, its tree, seconds a frame."""
    head, motion = path.read_text().split("MOTION\n")
    count, period, *rows = motion.strip().split("\n")
    values = np.array([row.split() for row in rows], float)
    assert count == f"Frames: {len(values)}"
    period = float(period.removeprefix("Frame Time: "))
    above, parents, offsets, channels, name = [], {}, {}, {}, None
    for words in (line.split() for line in head.strip().split("\n")[1:]):
        if words[0] in ("ROOT", "JOINT"):
            name = words[1]
            assert name not in parents and re.fullmatch(r"\w+", name)
            parents[name] = above[-1] if above else None
        elif words[:2] == ["End", "Site"]:
            name = f"end of {above[-1]}"
            parents[name] = above[-1]
        elif words[0] == "{":
            above.append(name)
        elif words[0] == "}":
            above.pop()
        elif words[0] == "OFFSET":
            offsets[name] = np.array(words[1:], float)
        elif words[0] == "CHANNELS":
            assert int(words[1]) == len(words) - 2
            channels[name] = words[2:]
    assert not above and sum(map(len, channels.values())) == values.shape[1]
    return _forward(parents, offsets, channels, values), parents, period


def _forward(parents, offsets, channels, values):
    positions, rotations, column = {}, {}, 0
    for name, parent in parents.items():
        place, turn = offsets[name], np.tile(np.eye(3), (len(values), 1, 1))
        for channel in channels.get(name, ()):
            number, column = values[:, column], column + 1
            axis = "XYZ".index(channel[0])
            if channel.endswith("position"):
                place = place + number[:, None] * np.eye(3)[axis]
            else:
                turn = turn @ _about(axis, np.radians(number))
        if parent is None:
            positions[name], rotations[name] = np.broadcast_to(place, (len(values), 3)), turn
        else:
            positions[name] = positions[parent] + (rotations[parent] @ place[..., None])[..., 0]
            rotations[name] = rotations[parent] @ turn
    return positions


def _about(axis, angle):
    """(T, 3, 3) right-handed rotations about a coordinate axis."""
    first, second = [(1, 2), (2, 0), (0, 1)][axis]
    turn = np.tile(np.eye(3), (len(angle), 1, 1))
    turn[:, first, first] = turn[:, second, second] = np.cos(angle)
    turn[:, second, first] = np.sin(angle)
    turn[:, first, second] = -np.sin(angle)
    return turn


def joints_of(path, joint_set):
    """(T, J, 3) mm in the rig's world: z up again."""
    positions, _, _ = read_bvh(path)
    places = np.stack([positions[bone_of(joint)] for joint in joint_set.joint_names], axis=1)
    return 1000.0 * np.stack([places[..., 0], -places[..., 2], places[..., 1]], axis=-1)


def read_trc(path):
    """A TRC file by its description: five lines of header, a blank one, then rows of numbers."""
    lines = path.read_bytes().decode("ascii").split("\n")
    assert lines[-1] == "" and lines[5] == ""
    kind, version, axes, name = lines[0].split("\t")
    assert (kind, version, axes, name) == ("PathFileType", "4", "(X/Y/Z)", path.name)
    values = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    labels = lines[3].split("\t")
    assert labels[:2] == ["Frame#", "Time"] and labels[-1] == ""
    count = int(values["NumMarkers"])
    markers = labels[2:-1:3]
    assert len(markers) == count and not any(labels[3:-1:3] + labels[4:-1:3])
    expected = "".join(f"\tX{i}\tY{i}\tZ{i}" for i in range(1, count + 1))
    assert lines[4] == "\t" + expected + "\t"
    # As OpenSim does: cells apart from blanks and tabs, so that none may be empty.
    rows = [line.split() for line in lines[6:-1]]
    assert {len(row) for row in rows} == {2 + 3 * count} and len(rows) == int(values["NumFrames"])
    numbers = np.array(rows, float)
    return values, markers, numbers[:, 0].astype(int), numbers[:, 1], numbers[:, 2:].reshape(-1, count, 3)


def read_c3d(path):
    """Points (T, N, 3), residuals (T, N), rate and labels of a C3D file with floating-point data."""
    data = path.read_bytes()
    parameters, key, count, _, first, last = struct.unpack("<BBHHHH", data[:10])
    scale, start = struct.unpack("<fH", data[12:18])
    (rate,) = struct.unpack("<f", data[20:24])
    assert key == 0x50 and scale < 0 and first == 1
    frames = last - first + 1
    points = np.frombuffer(data, "<f4", frames * count * 4, 512 * (start - 1)).reshape(frames, count, 4)
    residuals = np.where(points[..., 3] == -1, -1, 0)
    return points[..., :3], residuals, rate, read_c3d_parameters(data, 512 * (parameters - 1))


def read_c3d_parameters(data, start):
    """{"GROUP:NAME": list of texts, or numbers} from a C3D file's parameter section."""
    groups, found, place = {}, [], start + 4
    while data[place]:
        length, number = struct.unpack("<bb", data[place : place + 2])
        name = data[place + 2 : place + 2 + abs(length)].decode()
        place += 2 + abs(length)
        (offset,) = struct.unpack("<h", data[place : place + 2])
        if number < 0:
            groups[-number] = name
        else:
            found.append((number, name, place + 2))
        if offset == 0:
            break
        place += offset
    values = {}
    for number, name, at in found:
        kind, dimensions = struct.unpack("<bB", data[at : at + 2])
        sizes = list(data[at + 2 : at + 2 + dimensions])
        at += 2 + dimensions
        total = int(np.prod(sizes)) if sizes else 1
        if kind == -1:
            text = data[at : at + total].decode()
            width = sizes[0] if sizes else 1
            value = [text[i : i + width].strip() for i in range(0, total, width)] if width else []
        else:
            value = np.frombuffer(data, {1: "<u1", 2: "<u2", 4: "<f4"}[kind], total, at).tolist()
        values[f"{groups[number]}:{name}"] = value
    return values
