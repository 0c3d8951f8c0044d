// The voxel op as independent items, one a GPU thread: eight joints of one voxel over all views.
// voxel_cuda.cu runs them on a GPU, items_cpu.cpp in a loop, so that a machine without one can test
// the same code.
#pragma once

#include "voxel_math.h"

// Joints that one item averages: their sums stay in registers.
#define VOXEL_ITEM_JOINTS 8

struct VoxelItem {
  int64_t box, voxel;
  int joint;       // first
  int used;        // real joints among VOXEL_ITEM_JOINTS
  float position[3];
  const VoxelView* views;
  int64_t image;   // first packed heatmap of the scene
};

VOXEL_FUNCTION int64_t voxel_item_count(const VoxelProblem& problem) {
  return problem.boxes * voxel_count(problem) * (problem.padded_joints / VOXEL_ITEM_JOINTS);
}

// Neighbouring items write neighbouring elements of the volume, in either of its layouts.
VOXEL_FUNCTION VoxelItem voxel_item(const VoxelProblem& problem, int64_t index) {
  const int64_t count = voxel_count(problem);
  const int groups = problem.padded_joints / VOXEL_ITEM_JOINTS;
  VoxelItem item;
  int group;
  if (problem.channels_last) {
    group = static_cast<int>(index % groups);
    item.voxel = index / groups % count;
  } else {
    item.voxel = index % count;
    group = static_cast<int>(index / count % groups);
  }
  item.box = index / count / groups;
  item.joint = group * VOXEL_ITEM_JOINTS;
  const int rest = problem.joints - item.joint;
  item.used = rest < VOXEL_ITEM_JOINTS ? rest : VOXEL_ITEM_JOINTS;
  const int64_t scene = problem.scene[item.box];
  item.views = problem.views + scene * problem.view_count;
  item.image = scene * problem.view_count;
  voxel_position(problem, item.box, item.voxel, item.position[0], item.position[1],
                 item.position[2]);
  return item;
}

// Eight neighbouring floats, 32-byte aligned.
VOXEL_FUNCTION void voxel_add_weighted(const float* from, float weight, float* sum) {
#ifdef __CUDA_ARCH__
  const float4 low = __ldg(reinterpret_cast<const float4*>(from));
  const float4 high = __ldg(reinterpret_cast<const float4*>(from) + 1);
  const float values[VOXEL_ITEM_JOINTS] = {low.x,  low.y,  low.z,  low.w,
                                           high.x, high.y, high.z, high.w};
#else
  const float* values = from;
#endif
  for (int j = 0; j < VOXEL_ITEM_JOINTS; ++j) sum[j] += weight * values[j];
}

VOXEL_FUNCTION VoxelTap voxel_item_tap(const VoxelProblem& problem, const VoxelItem& item,
                                       int view) {
  const bool present = item.views[view].present > 0;
  if (problem.spots.pixel == nullptr) {
    const VoxelSpot spot = voxel_spot(item.views[view], problem, item.position[0],
                                      item.position[1], item.position[2]);
    return voxel_tap(spot.pixel, spot.right, spot.down, present, voxel_nowhere(problem));
  }
  const int64_t at = voxel_first_spot(problem, item.box, view) + item.voxel;
  return voxel_tap(problem.spots.pixel[at], problem.spots.right[at], problem.spots.down[at], present,
                   voxel_nowhere(problem));
}

// Mean over the views, not clamped; returns 1 / (number of views + epsilon).
VOXEL_FUNCTION float voxel_item_mean(const VoxelProblem& problem, const VoxelItem& item,
                                     float* mean) {
  const int64_t size = voxel_image_size(problem);
  const int64_t right = problem.padded_joints, below = right * (problem.heatmap_width + 2);
  for (int j = 0; j < VOXEL_ITEM_JOINTS; ++j) mean[j] = 0.0f;
  float weight = VOXEL_WEIGHT_EPSILON;
  for (int index = 0; index < problem.view_count; ++index) {
    const VoxelTap tap = voxel_item_tap(problem, item, index);
    if (tap.seen == 0.0f) continue;
    weight += 1.0f;
    const int64_t image = item.image + index;
    if (!problem.occupied[image * voxel_image_pixels(problem) + tap.pixel]) continue;
    const float* at = problem.heatmaps + image * size + tap.pixel * right + item.joint;
    voxel_add_weighted(at, tap.weight[0], mean);
    voxel_add_weighted(at + right, tap.weight[1], mean);
    voxel_add_weighted(at + below, tap.weight[2], mean);
    voxel_add_weighted(at + below + right, tap.weight[3], mean);
  }
  const float inverse = 1.0f / weight;
  for (int j = 0; j < VOXEL_ITEM_JOINTS; ++j) mean[j] *= inverse;
  return inverse;
}

template <typename Element>
VOXEL_FUNCTION void voxel_forward_item(const VoxelProblem& problem, int64_t index,
                                       Element* volume) {
  const VoxelItem item = voxel_item(problem, index);
  float mean[VOXEL_ITEM_JOINTS];
  voxel_item_mean(problem, item, mean);
  // Fully unrolled, so that `mean` needs no memory.
  for (int j = 0; j < VOXEL_ITEM_JOINTS; ++j)
    if (j < item.used)
      voxel_store(fminf(fmaxf(mean[j], 0.0f), 1.0f),
                  volume + voxel_place(problem, item.box, item.voxel, item.joint + j));
}

// Many items add to the same pixel; on a GPU at the same time.
VOXEL_FUNCTION void voxel_add(float* place, float value) {
#ifdef __CUDA_ARCH__
  atomicAdd(place, value);
#else
  *place += value;
#endif
}

// Adds what the packed heatmaps get of the gradient (float32, the volume's layout) of one item.
VOXEL_FUNCTION void voxel_backward_item(const VoxelProblem& problem, int64_t index,
                                        const float* gradient, float* packed) {
  const VoxelItem item = voxel_item(problem, index);
  float value[VOXEL_ITEM_JOINTS];
  const float inverse = voxel_item_mean(problem, item, value);
  bool any = false;
  for (int j = 0; j < VOXEL_ITEM_JOINTS; ++j) {
    // The clamp passes nothing where it was active.
    const bool passes = j < item.used && value[j] >= 0.0f && value[j] <= 1.0f;
    value[j] = passes ? inverse * gradient[voxel_place(problem, item.box, item.voxel,
                                                       item.joint + j)]
                      : 0.0f;
    any |= value[j] != 0.0f;
  }
  if (!any) return;
  const int64_t size = voxel_image_size(problem);
  const int64_t right = problem.padded_joints, below = right * (problem.heatmap_width + 2);
  const int64_t corners[4] = {0, right, below, below + right};
  for (int view = 0; view < problem.view_count; ++view) {
    const VoxelTap tap = voxel_item_tap(problem, item, view);
    if (tap.seen == 0.0f) continue;
    float* at = packed + (item.image + view) * size + tap.pixel * right + item.joint;
    for (int corner = 0; corner < 4; ++corner)
      for (int j = 0; j < VOXEL_ITEM_JOINTS; ++j)
        if (j < item.used) voxel_add(at + corners[corner] + j, tap.weight[corner] * value[j]);
  }
}

// Reads pixel `index` (scene, view, row, column of the packed layout) of all joints in, and marks
// whether one of them is not zero.
VOXEL_FUNCTION void voxel_pack_item(const VoxelProblem& problem, int64_t index,
                                    const float* heatmaps, const int64_t* strides, float* packed,
                                    uint8_t* marks) {
  const int64_t width = problem.heatmap_width + 2, height = problem.heatmap_height + 2;
  const int64_t x = index % width - 1, y = index / width % height - 1;
  const int64_t view = index / width / height % problem.view_count;
  const int64_t scene = index / width / height / problem.view_count;
  const bool border =
      x < 0 || y < 0 || x >= problem.heatmap_width || y >= problem.heatmap_height;
  const float* from =
      heatmaps + scene * strides[0] + view * strides[1] + y * strides[3] + x * strides[4];
  float* to = packed + index * problem.padded_joints;
  bool any = false;
  for (int j = 0; j < problem.padded_joints; ++j) {
    to[j] = border || j >= problem.joints ? 0.0f : from[j * strides[2]];
    any |= to[j] != 0.0f;
  }
  marks[index] = any;
}

// Whether one of the four pixels of the tap at pixel `index` is marked. No tap starts in the last row
// or column.
VOXEL_FUNCTION void voxel_occupied_item(const VoxelProblem& problem, int64_t index,
                                        const uint8_t* marks, uint8_t* occupied) {
  const int64_t width = problem.heatmap_width + 2, height = problem.heatmap_height + 2;
  const bool last = index % width == width - 1 || index / width % height == height - 1;
  const uint8_t* at = marks + index;
  occupied[index] = last ? 0 : at[0] | at[1] | at[width] | at[width + 1];
}

// Spot `index` (box, view, voxel).
VOXEL_FUNCTION void voxel_spot_item(const VoxelProblem& problem, int64_t index,
                                    const VoxelSpots& spots) {
  const int64_t count = voxel_count(problem), voxel = index % count;
  const int view = static_cast<int>(index / count % problem.view_count);
  const int64_t box = index / count / problem.view_count;
  float x, y, z;
  voxel_position(problem, box, voxel, x, y, z);
  const VoxelView& seen_by = problem.views[problem.scene[box] * problem.view_count + view];
  const VoxelSpot spot = voxel_spot(seen_by, problem, x, y, z);
  spots.pixel[index] = spot.pixel;
  spots.right[index] = spot.right;
  spots.down[index] = spot.down;
}

// Writes pixel `index` (scene, view, joint, row, column) of (B, V, J, H, W) from the packed layout.
VOXEL_FUNCTION void voxel_unpack_item(const VoxelProblem& problem, int64_t index,
                                      const float* packed, float* heatmaps) {
  const int64_t width = problem.heatmap_width, height = problem.heatmap_height;
  const int64_t x = index % width, y = index / width % height;
  const int64_t joint = index / width / height % problem.joints;
  const int64_t image = index / width / height / problem.joints;
  heatmaps[index] = packed[image * voxel_image_size(problem) +
                           ((y + 1) * (width + 2) + x + 1) * problem.padded_joints + joint];
}
