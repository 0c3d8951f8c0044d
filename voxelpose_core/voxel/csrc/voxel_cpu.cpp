// The voxel op on CPUs. Voxels are projected many at a time, one a vector lane; then the joints of
// a voxel are sampled and averaged together, one a lane. No per-view volume is ever stored.
// Plain C interface: no header of torch, so that it compiles in seconds and serves any version.

#include <algorithm>
#include <cstring>
#include <vector>

#include "voxel_math.h"

namespace {

// Voxels that are projected together: their taps stay in the first-level cache.
constexpr int kBlock = 64;
// Joints that are averaged together: their sums stay in registers.
constexpr int kMostJoints = 32;

// The taps of a block of voxels in every view, structure of arrays.
struct Taps {
  struct View {
    alignas(64) int32_t pixel[kBlock];
    alignas(64) float weight[4][kBlock];
    alignas(64) float seen[kBlock];
  };
  std::vector<View> views;
  alignas(64) float x[kBlock], y[kBlock], z[kBlock];
  alignas(64) float inverse_weight[kBlock];

  explicit Taps(const VoxelProblem& problem) : views(problem.view_count) {}
};

template <VoxelLens kLens>
void look_through(const VoxelView& view, const VoxelProblem& problem, int count, const Taps& taps,
                  Taps::View& out) {
  const bool behind = problem.count_points_behind != 0;
  const int height = problem.heatmap_height, width = problem.heatmap_width;
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    float u, v;
    const bool seen =
        voxel_project<kLens>(view, taps.x[i], taps.y[i], taps.z[i], behind, u, v);
    const VoxelTap tap = voxel_tap(u, v, seen, height, width);
    out.pixel[i] = tap.pixel;
    for (int corner = 0; corner < 4; ++corner) out.weight[corner][i] = tap.weight[corner];
    out.seen[i] = tap.seen;
  }
}

void look(const VoxelView& view, const VoxelProblem& problem, int count, const Taps& taps,
          Taps::View& out) {
  switch (voxel_lens(view)) {
    case kFisheye: return look_through<kFisheye>(view, problem, count, taps, out);
    case kRational: return look_through<kRational>(view, problem, count, taps, out);
    default: return look_through<kPolynomial>(view, problem, count, taps, out);
  }
}

// Positions of voxels first .. first + count of a box: voxel_position without its divisions.
void locate(const VoxelProblem& problem, int64_t box, int64_t first, int count, Taps& taps) {
  const float* center = problem.centers + 3 * box;
  const int rows = problem.voxels[1], depth = problem.voxels[2];
  int z = static_cast<int>(first % depth), y = static_cast<int>(first / depth % rows);
  int x = static_cast<int>(first / depth / rows);
  for (int i = 0; i < count; ++i) {
    taps.x[i] = center[0] + problem.axes[0][x];
    taps.y[i] = center[1] + problem.axes[1][y];
    taps.z[i] = center[2] + problem.axes[2][z];
    if (++z == depth) {
      z = 0;
      if (++y == rows) y = 0, ++x;
    }
  }
}

// Taps of voxels first .. first + count of a box, in all views.
void look_everywhere(const VoxelProblem& problem, int64_t box, int64_t first, int count,
                     Taps& taps) {
  locate(problem, box, first, count, taps);
  const VoxelView* views = problem.views + problem.scene[box] * problem.view_count;
  for (int i = 0; i < count; ++i) taps.inverse_weight[i] = VOXEL_WEIGHT_EPSILON;
  for (int index = 0; index < problem.view_count; ++index) {
    Taps::View& out = taps.views[index];
    look(views[index], problem, count, taps, out);
    for (int i = 0; i < count; ++i) taps.inverse_weight[i] += out.seen[i];
  }
  for (int i = 0; i < count; ++i) taps.inverse_weight[i] = 1.0f / taps.inverse_weight[i];
}

// Mean over the views, not clamped, of kJoints joints from `joint` on, for voxel i of a block.
template <int kJoints>
inline void mean_of(const VoxelProblem& problem, const float* scene_heatmaps, const Taps& taps,
                    int i, float* mean) {
  const int64_t image = voxel_image_size(problem), right = problem.padded_joints;
  const int64_t below = right * (problem.heatmap_width + 2);
  for (int j = 0; j < kJoints; ++j) mean[j] = 0.0f;
  for (int index = 0; index < problem.view_count; ++index) {
    const Taps::View& view = taps.views[index];
    if (view.seen[i] == 0.0f) continue;
    const float* at = scene_heatmaps + index * image + view.pixel[i] * right;
    const float a = view.weight[0][i], b = view.weight[1][i];
    const float c = view.weight[2][i], d = view.weight[3][i];
    for (int j = 0; j < kJoints; ++j)
      mean[j] += a * at[j] + b * at[right + j] + c * at[below + j] + d * at[below + right + j];
  }
  for (int j = 0; j < kJoints; ++j) mean[j] *= taps.inverse_weight[i];
}

// Averages kJoints joints from `joint` on, of which `used` are real, and writes them.
template <int kJoints, typename Element>
void average(const VoxelProblem& problem, const Taps& taps, int64_t box, int64_t first, int count,
             int joint, int used, Element* volume) {
  const float* heatmaps = problem.heatmaps + joint +
                          problem.scene[box] * problem.view_count * voxel_image_size(problem);
  alignas(64) Element rounded[kBlock][kJoints];
  for (int i = 0; i < count; ++i) {
    alignas(64) float mean[kJoints];
    mean_of<kJoints>(problem, heatmaps, taps, i, mean);
    for (int j = 0; j < kJoints; ++j)
      voxel_store(std::min(std::max(mean[j], 0.0f), 1.0f), &rounded[i][j]);
  }
  Element* place = volume + voxel_place(problem, box, first, joint);
  if (!problem.channels_last) {
    const int64_t stride = voxel_count(problem);
    for (int j = 0; j < used; ++j)
      for (int i = 0; i < count; ++i) place[j * stride + i] = rounded[i][j];
    return;
  }
  // Where all joints are written at once, the padding of a voxel may fall onto the next one, which
  // is written afterwards: copies of constant size are much faster.
  const int joints = problem.joints;
  const bool fits = joints == used && count * joints >= kJoints;
  const int padded = fits ? (count * joints - kJoints) / joints + 1 : 0;
  int i = 0;
  for (; i < padded; ++i) std::memcpy(place + i * joints, rounded[i], sizeof rounded[i]);
  for (; i < count; ++i) std::memcpy(place + i * joints, rounded[i], used * sizeof(Element));
}

// Calls f<width>(first joint, real joints) for pieces of at most kMostJoints joints.
template <typename F>
void for_joints(const VoxelProblem& problem, F f) {
  for (int joint = 0; joint < problem.joints; joint += kMostJoints) {
    const int used = std::min(kMostJoints, problem.joints - joint);
    switch ((used + 7) / 8) {
      case 1: f(std::integral_constant<int, 8>(), joint, used); break;
      case 2: f(std::integral_constant<int, 16>(), joint, used); break;
      case 3: f(std::integral_constant<int, 24>(), joint, used); break;
      default: f(std::integral_constant<int, 32>(), joint, used);
    }
  }
}

// Within a parallel region: its threads share the blocks of all boxes. f(box, first, size, width,
// joint, used) is called for each block, once its taps are known, and each group of joints.
template <typename F>
void for_blocks(const VoxelProblem& problem, Taps& taps, F f) {
  const int64_t count = voxel_count(problem), blocks = (count + kBlock - 1) / kBlock;
#pragma omp for schedule(dynamic, 16)
  for (int64_t item = 0; item < problem.boxes * blocks; ++item) {
    const int64_t box = item / blocks, first = item % blocks * kBlock;
    const int size = static_cast<int>(std::min<int64_t>(kBlock, count - first));
    look_everywhere(problem, box, first, size, taps);
    for_joints(problem, [&](auto width, int joint, int used) {
      f(box, first, size, width, joint, used);
    });
  }
}

template <typename Element>
void forward(const VoxelProblem& problem, Element* volume, int threads) {
#pragma omp parallel num_threads(threads)
  {
    Taps taps(problem);
    for_blocks(problem, taps, [&](int64_t box, int64_t first, int size, auto width, int joint,
                                  int used) {
      average<width()>(problem, taps, box, first, size, joint, used, volume);
    });
  }
}

// Gradient of the sum over views: zero where the clamp was active, else divided by the weight.
template <int kJoints>
void scale_gradient(const VoxelProblem& problem, const Taps& taps, int64_t box, int64_t first,
                    int count, int joint, int used, const float* gradient, float* scaled) {
  const float* heatmaps = problem.heatmaps + joint +
                          problem.scene[box] * problem.view_count * voxel_image_size(problem);
  const int64_t stride = problem.channels_last ? 1 : voxel_count(problem);
  for (int i = 0; i < count; ++i) {
    alignas(64) float mean[kJoints];
    mean_of<kJoints>(problem, heatmaps, taps, i, mean);
    const float* from = gradient + voxel_place(problem, box, first + i, joint);
    float* to = scaled + (box * voxel_count(problem) + first + i) * problem.padded_joints + joint;
    for (int j = 0; j < kJoints; ++j) {
      const bool passes = j < used && mean[j] >= 0.0f && mean[j] <= 1.0f;
      to[j] = passes ? from[j * stride] * taps.inverse_weight[i] : 0.0f;
    }
  }
}

// Adds what one view of one scene gets of a block of voxels.
template <int kJoints>
void scatter(const VoxelProblem& problem, const Taps::View& view, int count, const float* scaled,
             float* image) {
  const int64_t right = problem.padded_joints, below = right * (problem.heatmap_width + 2);
  for (int i = 0; i < count; ++i) {
    if (view.seen[i] == 0.0f) continue;
    float* at = image + view.pixel[i] * right;
    const float* from = scaled + i * right;
    const float a = view.weight[0][i], b = view.weight[1][i];
    const float c = view.weight[2][i], d = view.weight[3][i];
#pragma omp simd
    for (int j = 0; j < kJoints; ++j) {
      const float value = from[j];
      at[j] += a * value;
      at[right + j] += b * value;
      at[below + j] += c * value;
      at[below + right + j] += d * value;
    }
  }
}

// Adds what one view of one scene gets of a box.
void scatter_box(const VoxelProblem& problem, int64_t box, int index, const float* scaled,
                 float* image, Taps& taps) {
  const VoxelView& view = problem.views[problem.scene[box] * problem.view_count + index];
  const int64_t count = voxel_count(problem);
  for (int64_t first = 0; first < count; first += kBlock) {
    const int size = static_cast<int>(std::min<int64_t>(kBlock, count - first));
    locate(problem, box, first, size, taps);
    look(view, problem, size, taps, taps.views[0]);
    const float* from = scaled + (box * count + first) * problem.padded_joints;
    for_joints(problem, [&](auto width, int joint, int) {
      scatter<width()>(problem, taps.views[0], size, from + joint, image + joint);
    });
  }
}

// Most rows of most heatmaps are empty: to see that is much faster than to copy them.
bool is_zero(const float* row, int width, int64_t stride) {
  // Without an early exit and with a stride that it knows, the compiler makes vector code.
  int any = 0;
  if (stride == 1)
    for (int x = 0; x < width; ++x) any |= row[x] != 0.0f;
  else
    for (int x = 0; x < width; ++x) any |= row[x * stride] != 0.0f;
  return any == 0;
}

}  // namespace

extern "C" {

// Heatmap pixel (b, v, j, y, x) lies at heatmaps[b * strides[0] + ... + x * strides[4]].
void voxel_pack(const VoxelProblem* problem, const float* heatmaps, const int64_t* strides,
                float* packed, int threads) {
  const VoxelProblem& p = *problem;
  const int64_t rows = p.heatmap_height + 2, row_size = int64_t(p.heatmap_width + 2) * p.padded_joints;
#pragma omp parallel for num_threads(threads)
  for (int64_t item = 0; item < p.scenes * p.view_count * rows; ++item) {
    const int64_t y = item % rows - 1, view = item / rows % p.view_count;
    const int64_t scene = item / rows / p.view_count;
    float* row = packed + item * row_size;
    std::memset(row, 0, row_size * sizeof(float));
    if (y < 0 || y >= p.heatmap_height) continue;
    for (int j = 0; j < p.joints; ++j) {
      const float* from =
          heatmaps + scene * strides[0] + view * strides[1] + j * strides[2] + y * strides[3];
      float* to = row + p.padded_joints + j;
      if (is_zero(from, p.heatmap_width, strides[4])) continue;
      for (int x = 0; x < p.heatmap_width; ++x) to[x * p.padded_joints] = from[x * strides[4]];
    }
  }
}

// Packed (B, V, H + 2, W + 2, padded joints) -> (B, V, J, H, W).
void voxel_unpack(const VoxelProblem* problem, const float* packed, float* heatmaps, int threads) {
  const VoxelProblem& p = *problem;
  const int64_t image = voxel_image_size(p);
#pragma omp parallel for num_threads(threads)
  for (int64_t item = 0; item < p.scenes * p.view_count * p.joints; ++item) {
    const float* from = packed + item / p.joints * image + item % p.joints;
    float* to = heatmaps + item * p.heatmap_height * p.heatmap_width;
    for (int y = 0; y < p.heatmap_height; ++y)
      for (int x = 0; x < p.heatmap_width; ++x)
        *to++ = from[(int64_t(y + 1) * (p.heatmap_width + 2) + x + 1) * p.padded_joints];
  }
}

void voxel_forward(const VoxelProblem* problem, void* volume, int threads) {
  if (problem->element == 0)
    forward(*problem, static_cast<float*>(volume), threads);
  else
    forward(*problem, static_cast<uint16_t*>(volume), threads);
}

// Gradient (float32, the volume's layout) -> gradient of the packed heatmaps, which starts as zeros.
// `scaled` holds (N, X, Y, Z, padded joints) floats. A view of a scene belongs to one thread, so
// nothing is added atomically and the same input gives the same gradient.
void voxel_backward(const VoxelProblem* problem, const float* gradient, float* scaled,
                    float* packed_gradient, int threads) {
  const VoxelProblem& p = *problem;
#pragma omp parallel num_threads(threads)
  {
    Taps taps(p);
    for_blocks(p, taps, [&](int64_t box, int64_t first, int size, auto width, int joint,
                            int used) {
      scale_gradient<width()>(p, taps, box, first, size, joint, used, gradient, scaled);
    });
#pragma omp for schedule(dynamic, 1)
    for (int64_t item = 0; item < p.scenes * p.view_count; ++item) {
      const int64_t scene = item / p.view_count;
      for (int64_t box = 0; box < p.boxes; ++box)
        if (p.scene[box] == scene)
          scatter_box(p, box, static_cast<int>(item % p.view_count), scaled,
                      packed_gradient + item * voxel_image_size(p), taps);
    }
  }
}

}  // extern "C"
