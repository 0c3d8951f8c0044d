// 1x1x1 convolutions on CPUs, in float32 and with all that goes before and after them in one pass:
// shortcuts, and the end of both nets, which is ReLU and skip connection, last convolution, and for
// the pose net the softmax over all voxels of a box and its mean position. None of what lies between
// is stored. pointwise.py defines them.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "voxel_math.h"

namespace {

constexpr int kBlock = 64;       // voxels whose scores are kept at a time
constexpr int kTogether = 4;     // voxels whose scores are summed together
constexpr int kJoints = 32;      // outputs at a time, in vector lanes

// Running softmax of kJoints joints: everything is relative to exp(peak).
struct Moments {
  alignas(64) float peak[kJoints], total[kJoints], x[kJoints], y[kJoints], z[kJoints];

  Moments() {
    for (int j = 0; j < kJoints; ++j) {
      peak[j] = -std::numeric_limits<float>::infinity();
      total[j] = x[j] = y[j] = z[j] = 0.0f;
    }
  }
};

// exp(v) for v <= 0, to 2 units in the last place; 0 below -87. Has no branches, so that loops over
// it become vector code, which calls of expf do not.
inline float exp_negative(float v) {
  const float scaled = std::max(v, -87.0f) * 1.44269504f;
  const float whole = __builtin_floorf(scaled + 0.5f);
  const float f = (scaled - whole) * 0.693147181f;  // |f| <= log(2) / 2
  const float p =
      1 + f * (1 + f * (0.5f + f * (1.6666667e-1f + f * (4.1666667e-2f +
                                    f * (8.3333333e-3f + f * 1.3888889e-3f)))));
  const int32_t bits = (static_cast<int32_t>(whole) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return v < -87.0f ? 0.0f : p * power;
}

inline float load(const float* place) { return *place; }
inline float load(const uint16_t* place) {  // bfloat16
  const uint32_t bits = static_cast<uint32_t>(*place) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Adds voxels with these scores and offsets to the moments.
template <int kWidth>
void add_block(const float (*scores)[kWidth], const float* x, const float* y, const float* z,
               int count, Moments& m) {
  // Local arrays stay in registers.
  alignas(64) float peak[kWidth], total[kWidth], sx[kWidth], sy[kWidth], sz[kWidth];
  for (int j = 0; j < kWidth; ++j) peak[j] = m.peak[j];
  for (int i = 0; i < count; ++i)
    for (int j = 0; j < kWidth; ++j) peak[j] = std::max(peak[j], scores[i][j]);
  for (int j = 0; j < kWidth; ++j) {
    const float shrink = exp_negative(m.peak[j] - peak[j]);
    total[j] = m.total[j] * shrink;
    sx[j] = m.x[j] * shrink;
    sy[j] = m.y[j] * shrink;
    sz[j] = m.z[j] * shrink;
  }
  for (int i = 0; i < count; ++i)
    for (int j = 0; j < kWidth; ++j) {
      const float e = exp_negative(scores[i][j] - peak[j]);
      total[j] += e;
      sx[j] += e * x[i];
      sy[j] += e * y[i];
      sz[j] += e * z[i];
    }
  for (int j = 0; j < kWidth; ++j) {
    m.peak[j] = peak[j];
    m.total[j] = total[j];
    m.x[j] = sx[j];
    m.y[j] = sy[j];
    m.z[j] = sz[j];
  }
}

// A convolution of features (N, X, Y, Z, channels); its outputs are joints, or channels.
struct Arguments {
  int64_t boxes;
  int32_t channels, outputs, voxels[3];
  const float* weight;   // (channels, outputs rounded up to a multiple of 8)
  const float* bias;     // (outputs rounded up)
  const float* axes[3];  // soft_argmax: offsets of the X, Y and Z voxels from the centre, mm
  const void* skip;      // the end of the nets: what is added to the features' ReLU
};

int64_t voxel_count(const Arguments& a) {
  return int64_t(a.voxels[0]) * a.voxels[1] * a.voxels[2];
}

// Adds to `sums` the kWidth outputs from `output` on of kVoxels voxels with these values of channels.
template <int kWidth, int kVoxels>
inline void multiply(const Arguments& a, const float* values, int output,
                     float (&sums)[kVoxels][kWidth]) {
  const int padded = (a.outputs + 7) / 8 * 8;
  for (int c = 0; c < a.channels; ++c) {  // each weight is read once for all voxels
    const float* weight = a.weight + c * padded + output;
    for (int i = 0; i < kVoxels; ++i) {
      const float value = values[i * a.channels + c];
#pragma omp simd
      for (int j = 0; j < kWidth; ++j) sums[i][j] += value * weight[j];
    }
  }
}

// Scores of kWidth joints from `joint` on of kVoxels voxels from `voxel` on; `values` is room for
// their channels.
template <int kWidth, int kVoxels, typename Element>
void score(const Arguments& a, const Element* features, int64_t voxel, int joint, float* values,
           float (*scores)[kWidth]) {
  const int count = kVoxels * a.channels;
  const Element* from = features + voxel * a.channels;
  const Element* skip = static_cast<const Element*>(a.skip) + voxel * a.channels;
  for (int c = 0; c < count; ++c) values[c] = std::max(load(from + c), 0.0f) + load(skip + c);
  alignas(64) float sums[kVoxels][kWidth];  // a local array stays in registers
  for (int i = 0; i < kVoxels; ++i)
    for (int j = 0; j < kWidth; ++j) sums[i][j] = a.bias[joint + j];
  multiply(a, values, joint, sums);
  for (int i = 0; i < kVoxels; ++i)
    for (int j = 0; j < kWidth; ++j) scores[i][j] = sums[i][j];
}

// The same of `size` voxels.
template <int kWidth, typename Element>
void score_block(const Arguments& a, const Element* features, int64_t first, int size, int joint,
                 float* values, float (*scores)[kWidth]) {
  int i = 0;
  for (; i + kTogether <= size; i += kTogether)
    score<kWidth, kTogether>(a, features, first + i, joint, values, scores + i);
  for (; i < size; ++i) score<kWidth, 1>(a, features, first + i, joint, values, scores + i);
}

// Moments of the voxels (x, all y, all z) of a box.
template <int kWidth, typename Element>
void add_slab(const Arguments& a, const Element* features, int64_t box, int x, int joint,
              Moments& moments) {
  const int count = a.voxels[1] * a.voxels[2];
  const int64_t start = (box * a.voxels[0] + x) * count;
  alignas(64) float scores[kBlock][kWidth];
  float xs[kBlock], ys[kBlock], zs[kBlock];
  std::vector<float> values(kTogether * a.channels);
  for (int first = 0; first < count; first += kBlock) {
    const int size = std::min(kBlock, count - first);
    score_block<kWidth>(a, features, start + first, size, joint, values.data(), scores);
    for (int i = 0; i < size; ++i) {
      xs[i] = a.axes[0][x];
      ys[i] = a.axes[1][(first + i) / a.voxels[2]];
      zs[i] = a.axes[2][(first + i) % a.voxels[2]];
    }
    add_block<kWidth>(scores, xs, ys, zs, size, moments);
  }
}

// Calls f<width>() for the outputs from `output` on, at most kJoints.
template <typename F>
void for_width(const Arguments& a, int output, F f) {
  switch ((std::min(a.outputs - output, kJoints) + 7) / 8) {
    case 1: return f(std::integral_constant<int, 8>());
    case 2: return f(std::integral_constant<int, 16>());
    case 3: return f(std::integral_constant<int, 24>());
    default: return f(std::integral_constant<int, 32>());
  }
}

// Mean offset of each joint from the moments of the slabs of a box.
void finish(const Arguments& a, const Moments* slabs, int joint, float* offsets) {
  for (int j = 0; j < std::min(a.outputs - joint, kJoints); ++j) {
    float peak = slabs[0].peak[j];
    for (int x = 1; x < a.voxels[0]; ++x) peak = std::max(peak, slabs[x].peak[j]);
    double total = 0, sum[3] = {0, 0, 0};
    for (int x = 0; x < a.voxels[0]; ++x) {
      const double shrink = exp_negative(slabs[x].peak[j] - peak);
      total += shrink * slabs[x].total[j];
      sum[0] += shrink * slabs[x].x[j];
      sum[1] += shrink * slabs[x].y[j];
      sum[2] += shrink * slabs[x].z[j];
    }
    for (int axis = 0; axis < 3; ++axis)
      offsets[(joint + j) * 3 + axis] = static_cast<float>(sum[axis] / total);
  }
}

template <typename Element>
void write_scores(const Arguments& a, const Element* features, float* scores, int threads) {
  const int64_t count = voxel_count(a);
  const int64_t blocks = (count + kBlock - 1) / kBlock;
#pragma omp parallel for num_threads(threads)
  for (int64_t item = 0; item < a.boxes * blocks; ++item) {
    const int64_t box = item / blocks, first = item % blocks * kBlock;
    const int size = static_cast<int>(std::min<int64_t>(kBlock, count - first));
    std::vector<float> values(kTogether * a.channels);
    for (int joint = 0; joint < a.outputs; joint += kJoints)
      for_width(a, joint, [&](auto width) {
        alignas(64) float block[kBlock][width()];
        score_block<width()>(a, features, box * count + first, size, joint, values.data(), block);
        float* to = scores + (box * a.outputs + joint) * count + first;
        for (int j = 0; j < std::min(a.outputs - joint, kJoints); ++j)
          for (int i = 0; i < size; ++i) to[j * count + i] = block[i][j];
      });
  }
}

template <typename Element>
void find_means(const Arguments& a, const Element* features, float* offsets, int threads) {
  const int slabs = a.voxels[0], pieces = (a.outputs + kJoints - 1) / kJoints;
  std::vector<Moments> moments(a.boxes * pieces * slabs);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t item = 0; item < int64_t(moments.size()); ++item) {
    const int64_t box = item / slabs / pieces, x = item % slabs;
    const int joint = static_cast<int>(item / slabs % pieces) * kJoints;
    for_width(a, joint, [&](auto width) {
      add_slab<width()>(a, features, box, static_cast<int>(x), joint, moments[item]);
    });
  }
  for (int64_t item = 0; item < a.boxes * pieces; ++item)
    finish(a, &moments[item * slabs], static_cast<int>(item % pieces) * kJoints,
           offsets + item / pieces * a.outputs * 3);
}

// sum = relu(sum + kWidth outputs from `output` on) of kVoxels voxels; `values` are their channels.
template <int kWidth, int kVoxels, typename Element>
void add_outputs(const Arguments& a, const float* values, int64_t voxel, int output, Element* sum) {
  const int used = std::min(kWidth, a.outputs - output);
  alignas(64) float sums[kVoxels][kWidth] = {};
  Element* to = sum + voxel * a.outputs + output;
  for (int i = 0; i < kVoxels; ++i)
    for (int j = 0; j < used; ++j) sums[i][j] = a.bias[output + j] + load(to + i * a.outputs + j);
  multiply(a, values, output, sums);
  for (int i = 0; i < kVoxels; ++i)
    for (int j = 0; j < used; ++j)
      voxel_store(std::max(sums[i][j], 0.0f), to + i * a.outputs + j);
}

template <int kVoxels, typename Element>
void add_shortcut(const Arguments& a, const Element* features, int64_t voxel, float* values,
                  Element* sum) {
  const Element* from = features + voxel * a.channels;
  for (int c = 0; c < kVoxels * a.channels; ++c) values[c] = load(from + c);
  for (int output = 0; output < a.outputs; output += kJoints)
    for_width(a, output, [&](auto width) {
      add_outputs<width(), kVoxels>(a, values, voxel, output, sum);
    });
}

template <typename Element>
void add_shortcuts(const Arguments& a, const Element* features, Element* sum, int threads) {
  const int64_t count = a.boxes * voxel_count(a), blocks = (count + kBlock - 1) / kBlock;
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> values(kTogether * a.channels);
#pragma omp for
    for (int64_t block = 0; block < blocks; ++block) {
      int64_t voxel = block * kBlock;
      const int64_t end = std::min(voxel + kBlock, count);
      for (; voxel + kTogether <= end; voxel += kTogether)
        add_shortcut<kTogether>(a, features, voxel, values.data(), sum);
      for (; voxel < end; ++voxel) add_shortcut<1>(a, features, voxel, values.data(), sum);
    }
  }
}

}  // namespace

extern "C" {

// Features (N, X, Y, Z, channels) and `sum` (N, X, Y, Z, outputs), both float32 or both bfloat16:
// sum becomes relu(sum + the convolution's outputs).
void projection_shortcut(const Arguments* arguments, const void* features, int is_bfloat16, void* sum,
                         int threads) {
  if (is_bfloat16)
    add_shortcuts(*arguments, static_cast<const uint16_t*>(features), static_cast<uint16_t*>(sum),
                  threads);
  else
    add_shortcuts(*arguments, static_cast<const float*>(features), static_cast<float*>(sum), threads);
}

// Features (N, X, Y, Z, channels), float32 or bfloat16 -> scores (N, joints, X, Y, Z).
void output_scores(const Arguments* arguments, const void* features, int is_bfloat16,
                   float* scores, int threads) {
  if (is_bfloat16)
    write_scores(*arguments, static_cast<const uint16_t*>(features), scores, threads);
  else
    write_scores(*arguments, static_cast<const float*>(features), scores, threads);
}

// Features as above -> offsets (N, joints, 3) from the centres.
void soft_argmax(const Arguments* arguments, const void* features, int is_bfloat16, float* offsets,
                 int threads) {
  if (is_bfloat16)
    find_means(*arguments, static_cast<const uint16_t*>(features), offsets, threads);
  else
    find_means(*arguments, static_cast<const float*>(features), offsets, threads);
}

}  // extern "C"
