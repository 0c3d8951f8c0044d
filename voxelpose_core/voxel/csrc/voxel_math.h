// What one voxel sees: shared by the C++ and the CUDA kernel, so that both do the same arithmetic.
// The definition is voxel/torch_reference.py (and voxel/views.py for the cameras).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define VOXEL_FUNCTION __host__ __device__ inline
#else
// Loops that call what was not inlined are not vectorized.
#define VOXEL_FUNCTION inline __attribute__((always_inline))
#endif

// One view of one scene; views.py writes these floats in this order (`Views.table`).
struct VoxelView {
  float fx, skew, cx, fy, cy;  // pixels
  float distortion[8];         // k1 k2 p1 p2 k3 k4 k5 k6; a fisheye's k1..k4 in the first four
  float R[9];                  // world to camera
  float C[3];                  // mm
  float width, height;         // of the image, pixels
  float valid_radius;          // of r = tan(theta); of theta for a fisheye
  float to_heatmap[6];         // affine, rows
  float present, fisheye;      // 0 or 1
};

// Where a view is sampled for every voxel of every box, (N, V, X * Y * Z) each: VoxelSpot in arrays.
struct VoxelSpots {
  int32_t* pixel;
  float* right;
  float* down;
};

// One call. Heatmaps are packed (B, V, H + 2, W + 2, padded joints) with a border of zeros, so that
// no tap of a bilinear sample needs a bounds check and the joints of a pixel lie side by side.
struct VoxelProblem {
  const float* heatmaps;    // packed; nothing is written where no tap is occupied
  const uint8_t* occupied;  // (B, V, H + 2, W + 2): has the tap with this top left pixel a value?
  const VoxelView* views;   // (B, V)
  VoxelSpots spots;         // of boxes and cameras that never move, else null: found anew
  const float* centers;     // (N, 3), mm
  const int64_t* scene;     // (N,)
  const float* axes[3];     // offsets of the X, Y and Z voxels from the centre, mm
  int64_t boxes, scenes;
  int32_t view_count, joints, padded_joints, heatmap_height, heatmap_width;
  int32_t voxels[3];
  int32_t count_points_behind;
  int32_t channels_last;    // layout of the volume: (N, X, Y, Z, J), else (N, J, X, Y, Z)
  int32_t element;          // type of the volume: 0 float32, 1 bfloat16, 2 float16 (CUDA only)
};

// Where a view is sampled for a voxel: offset of the top left tap in its packed heatmap, in pixels
// (VOXEL_UNSEEN where the view does not see the voxel), and how far right of and below it.
#define VOXEL_UNSEEN (-1)
struct VoxelSpot {
  int32_t pixel;
  float right, down;
};

// The four weights at a spot. `seen` counts the view in the mean even where the heatmap is empty.
struct VoxelTap {
  int32_t pixel;
  float weight[4];
  float seen;
};

// |z| below this is taken for this, mm: a point in the plane of the lens has no pixel.
#define VOXEL_LEAST_DEPTH 1e-3f
#define VOXEL_WEIGHT_EPSILON 1e-6f

enum VoxelLens { kPolynomial, kRational, kFisheye };

VOXEL_FUNCTION VoxelLens voxel_lens(const VoxelView& view) {
  const float* k = view.distortion;
  if (view.fisheye > 0) return kFisheye;
  return ((k[5] != 0) | (k[6] != 0) | (k[7] != 0)) ? kRational : kPolynomial;
}

// Angle of r >= 0, to 2e-7: Abramowitz and Stegun, 4.4.49. Loops that call atanf are not vectorized.
VOXEL_FUNCTION float voxel_angle(float r) {
  const bool steep = r > 1.0f;
  const float t = steep ? 1.0f / r : r, t2 = t * t;
  float p = 0.0028662257f;
  p = p * t2 - 0.0161657367f;
  p = p * t2 + 0.0429096138f;
  p = p * t2 - 0.0752896400f;
  p = p * t2 + 0.1065626393f;
  p = p * t2 - 0.1420889944f;
  p = p * t2 + 0.1999355085f;
  p = p * t2 - 0.3333314528f;
  p = t + t * (p * t2);
  return steep ? 1.57079633f - p : p;
}

template <VoxelLens kLens>
VOXEL_FUNCTION bool voxel_distort(const float* k, float x, float y, float limit, float& xd,
                                  float& yd) {
  const float r2 = x * x + y * y;
  if (kLens == kFisheye) {
    const float r = sqrtf(r2), theta = voxel_angle(r), t2 = theta * theta;
    const float bent = theta * (1 + t2 * (k[0] + t2 * (k[1] + t2 * (k[2] + t2 * k[3]))));
    const float scale = r > 1e-8f ? bent / r : 1.0f;
    xd = x * scale;
    yd = y * scale;
    return theta < limit;
  }
  float radial = 1 + r2 * (k[0] + r2 * (k[1] + r2 * k[4]));
  if (kLens == kRational) radial /= 1 + r2 * (k[5] + r2 * (k[6] + r2 * k[7]));
  xd = x * radial + 2 * k[2] * x * y + k[3] * (r2 + 2 * x * x);
  yd = y * radial + k[2] * (r2 + 2 * y * y) + 2 * k[3] * x * y;
  return r2 < limit * limit;
}

// Position (u, v) in the heatmap of a world point, and whether the view sees it, if it is present.
template <VoxelLens kLens>
VOXEL_FUNCTION bool voxel_project(const VoxelView& view, float px, float py, float pz,
                                  bool count_points_behind, float& u, float& v) {
  const float dx = px - view.C[0], dy = py - view.C[1], dz = pz - view.C[2];
  const float* R = view.R;
  const float depth = R[6] * dx + R[7] * dy + R[8] * dz;
  const float inverse = 1.0f / (fabsf(depth) < VOXEL_LEAST_DEPTH ? VOXEL_LEAST_DEPTH : depth);
  const float x = (R[0] * dx + R[1] * dy + R[2] * dz) * inverse;
  const float y = (R[3] * dx + R[4] * dy + R[5] * dz) * inverse;
  float xd, yd;
  const bool defined = voxel_distort<kLens>(view.distortion, x, y, view.valid_radius, xd, yd);
  const float column = view.fx * xd + view.skew * yd + view.cx;
  const float row = view.fy * yd + view.cy;
  const float* a = view.to_heatmap;
  u = a[0] * column + a[1] * row + a[2];
  v = a[3] * column + a[4] * row + a[5];
  const bool in_front = count_points_behind | (defined & (depth > 0));
  return in_front & (column >= 0) & (row >= 0) & (column < view.width) & (row < view.height);
}

// The spot of a heatmap position. Beyond the heatmap all is zero.
VOXEL_FUNCTION VoxelSpot voxel_spot_at(float u, float v, bool seen, int height, int width) {
  const float left = floorf(u), top = floorf(v);
  // Written so that NaN is outside.
  const bool inside = seen & (left >= -1.0f) & (top >= -1.0f) & (left < width) & (top < height);
  const int column = inside ? static_cast<int>(left) + 1 : 0;
  const int row = inside ? static_cast<int>(top) + 1 : 0;
  VoxelSpot spot;
  // Pixel 0 is in the border.
  spot.pixel = seen ? row * (width + 2) + column : VOXEL_UNSEEN;
  spot.right = inside ? u - left : 0.0f;
  spot.down = inside ? v - top : 0.0f;
  return spot;
}

// The tap of a spot; `nowhere` stands in for the pixel of what is not seen.
VOXEL_FUNCTION VoxelTap voxel_tap(int32_t pixel, float right, float down, bool present,
                                  int32_t nowhere) {
  const bool seen = present & (pixel >= 0);
  VoxelTap tap;
  tap.pixel = seen ? pixel : nowhere;
  tap.weight[0] = (1 - right) * (1 - down);
  tap.weight[1] = right * (1 - down);
  tap.weight[2] = (1 - right) * down;
  tap.weight[3] = right * down;
  tap.seen = seen ? 1.0f : 0.0f;
  return tap;
}

template <VoxelLens kLens>
VOXEL_FUNCTION VoxelSpot voxel_spot_through(const VoxelView& view, const VoxelProblem& problem,
                                            float px, float py, float pz) {
  float u, v;
  const bool behind = problem.count_points_behind != 0;
  const bool seen = voxel_project<kLens>(view, px, py, pz, behind, u, v);
  return voxel_spot_at(u, v, seen, problem.heatmap_height, problem.heatmap_width);
}

VOXEL_FUNCTION VoxelSpot voxel_spot(const VoxelView& view, const VoxelProblem& problem, float px,
                                    float py, float pz) {
  switch (voxel_lens(view)) {
    case kFisheye: return voxel_spot_through<kFisheye>(view, problem, px, py, pz);
    case kRational: return voxel_spot_through<kRational>(view, problem, px, py, pz);
    default: return voxel_spot_through<kPolynomial>(view, problem, px, py, pz);
  }
}

// World position of voxel `index` (x-major) of a box.
VOXEL_FUNCTION void voxel_position(const VoxelProblem& problem, int64_t box, int64_t index,
                                   float& x, float& y, float& z) {
  const float* center = problem.centers + 3 * box;
  const int32_t depth = problem.voxels[2], plane = problem.voxels[1] * depth;
  const int32_t flat = static_cast<int32_t>(index), i = flat / plane, rest = flat - i * plane;
  x = center[0] + problem.axes[0][i];
  y = center[1] + problem.axes[1][rest / depth];
  z = center[2] + problem.axes[2][rest % depth];
}

VOXEL_FUNCTION int64_t voxel_count(const VoxelProblem& problem) {
  return static_cast<int64_t>(problem.voxels[0]) * problem.voxels[1] * problem.voxels[2];
}

// Pixels of one packed heatmap.
VOXEL_FUNCTION int64_t voxel_image_pixels(const VoxelProblem& problem) {
  return static_cast<int64_t>(problem.heatmap_height + 2) * (problem.heatmap_width + 2);
}

// A pixel whose tap is never occupied: no tap starts in the last row or column.
VOXEL_FUNCTION int32_t voxel_nowhere(const VoxelProblem& problem) {
  return static_cast<int32_t>(voxel_image_pixels(problem) - 1);
}

// Floats in one packed heatmap.
VOXEL_FUNCTION int64_t voxel_image_size(const VoxelProblem& problem) {
  return voxel_image_pixels(problem) * problem.padded_joints;
}

// First of the spots of a box in a view.
VOXEL_FUNCTION int64_t voxel_first_spot(const VoxelProblem& problem, int64_t box, int view) {
  return (box * problem.view_count + view) * voxel_count(problem);
}

// Place of a joint of a voxel in the volume.
VOXEL_FUNCTION int64_t voxel_place(const VoxelProblem& problem, int64_t box, int64_t index,
                                   int joint) {
  const int64_t count = voxel_count(problem);
  return problem.channels_last ? (box * count + index) * problem.joints + joint
                               : (box * problem.joints + joint) * count + index;
}

// Elements of volumes. bfloat16 is rounded to nearest even.
VOXEL_FUNCTION void voxel_store(float value, float* place) { *place = value; }
VOXEL_FUNCTION void voxel_store(float value, uint16_t* place) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  *place = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
#ifdef __CUDA_FP16_H__
VOXEL_FUNCTION void voxel_store(float value, __half* place) { *place = __float2half_rn(value); }
#endif
