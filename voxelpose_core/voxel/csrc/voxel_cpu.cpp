// The voxel op on CPUs. Voxels are projected many at a time, one a vector lane; then the joints of
// a voxel are sampled and averaged together, one a lane. No per-view volume is ever stored.
// Plain C interface: no header of torch, so that it compiles in seconds and serves any version.

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "voxel_math.h"

namespace {

// Voxels that are projected together: their taps stay in the first-level cache.
constexpr int kBlock = 64;
// Joints that are averaged together: their sums stay in registers.
constexpr int kMostJoints = 32;
// Joints of a vector. Loops over so few are unrolled into scalar code, so vectors are spelled out
// (in the extension that GCC and Clang share).
constexpr int kLanes = 8;
using Lanes = float __attribute__((vector_size(4 * kLanes)));
using Bits = uint32_t __attribute__((vector_size(4 * kLanes)));
using HalfBits = uint16_t __attribute__((vector_size(2 * kLanes)));

inline Lanes load(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

inline void store(Lanes lanes, float* to) { std::memcpy(to, &lanes, sizeof lanes); }

inline void store(Lanes lanes, uint16_t* to) {  // voxel_store to bfloat16
  Bits bits;
  std::memcpy(&bits, &lanes, sizeof bits);
  const HalfBits rounded =
      __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, HalfBits);
  std::memcpy(to, &rounded, sizeof rounded);
}

// The taps of a block of voxels in every view, structure of arrays.
struct Taps {
  struct View {
    alignas(64) int32_t pixel[kBlock];
    alignas(64) float weight[4][kBlock];
    alignas(64) float seen[kBlock];
    alignas(64) uint8_t occupied[kBlock];  // 1 where the heatmap is worth reading
  };
  std::vector<View> views;
  alignas(64) float x[kBlock], y[kBlock], z[kBlock];
  alignas(64) float inverse_weight[kBlock];
  int live[kBlock];  // voxels that are occupied in some view
  int live_count;

  explicit Taps(const VoxelProblem& problem) : views(problem.view_count) {}
};

// The spots of a block of voxels in one view.
struct Spots {
  alignas(64) int32_t pixel[kBlock];
  alignas(64) float right[kBlock], down[kBlock];
};

template <VoxelLens kLens>
void look_through(const VoxelView& through, const VoxelProblem& problem, int count,
                  const Taps& taps, const VoxelSpots& out) {
  const VoxelView view = through;  // a copy, which nothing written below can change
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    const VoxelSpot spot =
        voxel_spot_through<kLens>(view, problem, taps.x[i], taps.y[i], taps.z[i]);
    out.pixel[i] = spot.pixel;
    out.right[i] = spot.right;
    out.down[i] = spot.down;
  }
}

// Spots of the `count` voxels at taps.x, y and z.
void look(const VoxelView& view, const VoxelProblem& problem, int count, const Taps& taps,
          const VoxelSpots& out) {
  switch (voxel_lens(view)) {
    case kFisheye: return look_through<kFisheye>(view, problem, count, taps, out);
    case kRational: return look_through<kRational>(view, problem, count, taps, out);
    default: return look_through<kPolynomial>(view, problem, count, taps, out);
  }
}

void weigh(const VoxelProblem& problem, const VoxelSpots& spots, bool present, int count,
           Taps::View& out) {
  const int32_t nowhere = voxel_nowhere(problem);
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    const VoxelTap tap =
        voxel_tap(spots.pixel[i], spots.right[i], spots.down[i], present, nowhere);
    out.pixel[i] = tap.pixel;
    for (int corner = 0; corner < 4; ++corner) out.weight[corner][i] = tap.weight[corner];
    out.seen[i] = tap.seen;
  }
}

// Positions of voxels first .. first + count of a box: voxel_position without its divisions.
void locate(const VoxelProblem& problem, int64_t box, int64_t first, int count, Taps& taps) {
  const float* center = problem.centers + 3 * box;
  const int rows = problem.voxels[1], depth = problem.voxels[2];
  int z = static_cast<int>(first % depth), y = static_cast<int>(first / depth % rows);
  int x = static_cast<int>(first / depth / rows);
  for (int i = 0; i < count;) {
    const int end = std::min(count, i + depth - z);
    const float px = center[0] + problem.axes[0][x], py = center[1] + problem.axes[1][y];
    for (; i < end; ++i, ++z) {
      taps.x[i] = px;
      taps.y[i] = py;
      taps.z[i] = center[2] + problem.axes[2][z];
    }
    z = 0;
    if (++y == rows) y = 0, ++x;
  }
}

// Taps of voxels first .. first + count of a box in one view; those without remembered spots lie at
// taps.x, y and z.
void look_at(const VoxelProblem& problem, int64_t box, int index, int64_t first, int count,
             Taps& taps, Taps::View& out) {
  const VoxelView& view = problem.views[problem.scene[box] * problem.view_count + index];
  const VoxelSpots& known = problem.spots;
  if (known.pixel != nullptr) {
    const int64_t at = voxel_first_spot(problem, box, index) + first;
    weigh(problem, {known.pixel + at, known.right + at, known.down + at}, view.present > 0, count,
          out);
    return;
  }
  Spots spots;
  look(view, problem, count, taps, {spots.pixel, spots.right, spots.down});
  weigh(problem, {spots.pixel, spots.right, spots.down}, view.present > 0, count, out);
}

// Taps of voxels first .. first + count of a box in all views, and which voxels are live.
void look_everywhere(const VoxelProblem& problem, int64_t box, int64_t first, int count,
                     Taps& taps) {
  if (problem.spots.pixel == nullptr) locate(problem, box, first, count, taps);
  uint8_t live[kBlock] = {};
  for (int i = 0; i < count; ++i) taps.inverse_weight[i] = VOXEL_WEIGHT_EPSILON;
  for (int index = 0; index < problem.view_count; ++index) {
    Taps::View& out = taps.views[index];
    look_at(problem, box, index, first, count, taps, out);
    const int64_t image = problem.scene[box] * problem.view_count + index;
    const uint8_t* occupied = problem.occupied + image * voxel_image_pixels(problem);
    for (int i = 0; i < count; ++i) out.occupied[i] = occupied[out.pixel[i]];
    for (int i = 0; i < count; ++i) live[i] |= out.occupied[i];
    for (int i = 0; i < count; ++i) taps.inverse_weight[i] += out.seen[i];
  }
  for (int i = 0; i < count; ++i) taps.inverse_weight[i] = 1.0f / taps.inverse_weight[i];
  taps.live_count = 0;
  for (int i = 0; i < count; ++i) {  // no branch: half of them would be mispredicted
    taps.live[taps.live_count] = i;
    taps.live_count += live[i];
  }
}

// Mean over the views, not clamped, of kJoints joints from `joint` on, for voxel i of a block.
template <int kJoints>
inline void mean_of(const VoxelProblem& problem, const float* scene_heatmaps, const Taps& taps,
                    int i, Lanes (&mean)[kJoints / kLanes]) {
  const int64_t image = voxel_image_size(problem), right = problem.padded_joints;
  const int64_t below = right * (problem.heatmap_width + 2);
  for (Lanes& lanes : mean) lanes = Lanes{};
  for (int index = 0; index < problem.view_count; ++index) {
    const Taps::View& view = taps.views[index];
    if (!view.occupied[i]) continue;
    const float* at = scene_heatmaps + index * image + view.pixel[i] * right;
    const float a = view.weight[0][i], b = view.weight[1][i];
    const float c = view.weight[2][i], d = view.weight[3][i];
    for (Lanes& lanes : mean) {
      lanes += a * load(at) + b * load(at + right) + c * load(at + below) +
               d * load(at + below + right);
      at += kLanes;
    }
  }
  for (Lanes& lanes : mean) lanes *= taps.inverse_weight[i];
}

// Writes zeros for `count` voxels from `first` on and `used` joints from `joint` on.
template <typename Element>
void write_nothing(const VoxelProblem& problem, int64_t box, int64_t first, int count, int joint,
                   int used, Element* volume) {
  Element* place = volume + voxel_place(problem, box, first, joint);
  if (!problem.channels_last) {
    const int64_t stride = voxel_count(problem);
    for (int j = 0; j < used; ++j) std::memset(place + j * stride, 0, count * sizeof(Element));
  } else if (used == problem.joints) {
    std::memset(place, 0, size_t(count) * used * sizeof(Element));
  } else {
    for (int i = 0; i < count; ++i)
      std::memset(place + i * problem.joints, 0, used * sizeof(Element));
  }
}

// Averages kJoints joints from `joint` on, of which `used` are real, and writes them.
template <int kJoints, typename Element>
void average(const VoxelProblem& problem, const Taps& taps, int64_t box, int64_t first, int count,
             int joint, int used, Element* volume) {
  if (taps.live_count == 0) return write_nothing(problem, box, first, count, joint, used, volume);
  const float* heatmaps = problem.heatmaps + joint +
                          problem.scene[box] * problem.view_count * voxel_image_size(problem);
  alignas(64) Element rounded[kBlock][kJoints];
  if (taps.live_count < count) std::memset(rounded, 0, sizeof rounded);
  for (int k = 0; k < taps.live_count; ++k) {
    const int i = taps.live[k];
    Lanes mean[kJoints / kLanes];
    mean_of<kJoints>(problem, heatmaps, taps, i, mean);
    Element* to = rounded[i];
    for (Lanes& lanes : mean) {
      const Lanes none = {}, one = none + 1.0f;
      lanes = lanes < none ? none : lanes;
      store(lanes > one ? one : lanes, to);
      to += kLanes;
    }
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
    Lanes lanes[kJoints / kLanes];
    mean_of<kJoints>(problem, heatmaps, taps, i, lanes);
    float mean[kJoints];
    std::memcpy(mean, lanes, sizeof mean);
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
  const int64_t count = voxel_count(problem);
  for (int64_t first = 0; first < count; first += kBlock) {
    const int size = static_cast<int>(std::min<int64_t>(kBlock, count - first));
    if (problem.spots.pixel == nullptr) locate(problem, box, first, size, taps);
    look_at(problem, box, index, first, size, taps, taps.views[0]);
    const float* from = scaled + (box * count + first) * problem.padded_joints;
    for_joints(problem, [&](auto width, int joint, int) {
      scatter<width()>(problem, taps.views[0], size, from + joint, image + joint);
    });
  }
}

// The heatmaps of one view of one scene as they come.
struct Source {
  const float* heatmaps;
  int64_t joint, row, column;  // strides

  const float* at(int j, int64_t y) const { return heatmaps + j * joint + y * row; }
};

// Calls f(stride); with a stride of 1 that it knows, the compiler makes vector code.
template <typename F>
void with_stride(int64_t stride, F f) {
  if (stride == 1)
    f(std::integral_constant<int64_t, 1>());
  else
    f(stride);
}

// Marks the pixels of a row of a view where some joint is not zero. `bits` is room for them.
void mark_row(const VoxelProblem& problem, const Source& source, int64_t y, uint32_t* bits,
              uint8_t* marks) {
  const int width = problem.heatmap_width;
  std::fill(bits, bits + width, 0);
  for (int j = 0; j < problem.joints; ++j) {
    const float* from = source.at(j, y);
    with_stride(source.column, [&](auto stride) {
      for (int x = 0; x < width; ++x) {
        uint32_t value;
        std::memcpy(&value, from + x * stride, sizeof value);
        bits[x] |= value << 1;  // without the sign: -0 is zero, too
      }
    });
  }
  for (int x = 0; x < width; ++x) marks[x] = bits[x] != 0;
}

bool is_zero(const float* row, int width, int64_t stride) {
  int any = 0;  // without an early exit the compiler makes vector code
  with_stride(stride, [&](auto step) {
    for (int x = 0; x < width; ++x) any |= row[x * step] != 0.0f;
  });
  return any == 0;
}

// Copies pixels first .. last of a row of the packed heatmaps; y and x of `source` lag one behind.
void pack_pixels(const VoxelProblem& problem, const Source& source, int64_t row, int first,
                 int last, float* packed_row) {
  const int padded = problem.padded_joints;
  std::memset(packed_row + int64_t(first) * padded, 0, sizeof(float) * (last - first) * padded);
  if (row == 0 || row > problem.heatmap_height) return;
  const int from_x = std::max(first - 1, 0), to_x = std::min(last - 1, problem.heatmap_width);
  for (int j = 0; j < problem.joints; ++j) {
    const float* from = source.at(j, row - 1) + from_x * source.column;
    if (is_zero(from, to_x - from_x, source.column)) continue;
    float* to = packed_row + int64_t(from_x + 1) * padded + j;
    for (int x = 0; x < to_x - from_x; ++x) to[x * padded] = from[x * source.column];
  }
}

// From the marks of a row and its neighbours: which of its taps are occupied, and its pixels, where
// such a tap reads them.
void pack_row(const VoxelProblem& problem, const Source& source, int64_t row, const uint8_t* marks,
              uint8_t* needed, uint8_t* occupied, float* packed_row) {
  const int width = problem.heatmap_width + 2;
  const uint8_t* above = row > 0 ? marks - width : nullptr;
  const uint8_t* below = row <= problem.heatmap_height ? marks + width : nullptr;
  // The last row and column belong to the taps before them; none starts there.
  for (int x = 0; x < width; ++x) occupied[x] = 0;
  if (below != nullptr)
    for (int x = 0; x < width - 1; ++x)
      occupied[x] = marks[x] | marks[x + 1] | below[x] | below[x + 1];  // 0 or 1
  for (int x = 0; x < width; ++x) needed[x] = occupied[x];
  if (above != nullptr)
    for (int x = 0; x < width - 1; ++x)
      needed[x] |= above[x] | above[x + 1] | marks[x] | marks[x + 1];
  for (int x = width - 1; x > 0; --x) needed[x] |= needed[x - 1];
  for (int x = 0; x < width;) {
    if (!needed[x]) {
      ++x;
      continue;
    }
    const int first = x;
    while (x < width && needed[x]) ++x;
    pack_pixels(problem, source, row, first, x, packed_row);
  }
}

}  // namespace

extern "C" {

// Heatmap pixel (b, v, j, y, x) lies at heatmaps[b * strides[0] + ... + x * strides[4]]. Most of most
// heatmaps is empty: that is never copied, nor are zeros written for it. `occupied` is the problem's,
// `marks` room for as much.
void voxel_pack(const VoxelProblem* problem, const float* heatmaps, const int64_t* strides,
                float* packed, uint8_t* occupied, uint8_t* marks, int threads) {
  const VoxelProblem& p = *problem;
  const int64_t rows = p.heatmap_height + 2, width = p.heatmap_width + 2;
  const int64_t count = p.scenes * p.view_count * rows;
  const auto source_of = [&](int64_t item) {
    const int64_t view = item / rows % p.view_count, scene = item / rows / p.view_count;
    return Source{heatmaps + scene * strides[0] + view * strides[1], strides[2], strides[3],
                  strides[4]};
  };
#pragma omp parallel num_threads(threads)
  {
    std::vector<uint32_t> bits(width);
    std::vector<uint8_t> needed(width);
#pragma omp for
    for (int64_t item = 0; item < count; ++item) {
      const int64_t y = item % rows - 1;
      uint8_t* row = marks + item * width;
      std::memset(row, 0, width);
      if (y >= 0 && y < p.heatmap_height) mark_row(p, source_of(item), y, bits.data(), row + 1);
    }
#pragma omp for
    for (int64_t item = 0; item < count; ++item)
      pack_row(p, source_of(item), item % rows, marks + item * width, needed.data(),
               occupied + item * width, packed + item * width * p.padded_joints);
  }
}

// Spots of all boxes in all views.
void voxel_spots(const VoxelProblem* problem, int32_t* pixel, float* right, float* down,
                 int threads) {
  const VoxelProblem& p = *problem;
  const int64_t count = voxel_count(p);
#pragma omp parallel num_threads(threads)
  {
    Taps taps(p);
#pragma omp for
    for (int64_t item = 0; item < p.boxes * p.view_count; ++item) {
      const int64_t box = item / p.view_count;
      const int index = static_cast<int>(item % p.view_count);
      for (int64_t first = 0; first < count; first += kBlock) {
        const int size = static_cast<int>(std::min<int64_t>(kBlock, count - first));
        const int64_t at = voxel_first_spot(p, box, index) + first;
        locate(p, box, first, size, taps);
        look(p.views[p.scene[box] * p.view_count + index], p, size, taps,
             {pixel + at, right + at, down + at});
      }
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
