// Input heatmaps on CPUs: Gaussians are drawn where they are not zero, and nowhere else.
// heatmaps.py defines them.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

struct Keypoints {
  int64_t images;       // scenes times views
  int32_t people, joints, height, width;
  const float* xy;      // (images, people, joints, 2), heatmap pixels
  const float* scores;  // (images, people, joints)
  const float* sigma;   // (images, people), pixels
};

// Where a Gaussian is not zero along one axis: first <= i < last.
struct Span {
  int first, last;
};

// Values of a Gaussian of peak 1, cut at three sigma, at the pixels of its span on an axis of `size`.
Span gaussian(float mean, float sigma, int size, float* values) {
  // Written so that NaN is nowhere; one pixel more on each side leaves the cut to the test below.
  const float low = mean - 3 * sigma - 1, high = mean + 3 * sigma + 2;
  if (!(high > 0 && low < size)) return {0, 0};
  const Span span{low > 0 ? static_cast<int>(low) : 0,
                  high < size ? static_cast<int>(high) : size};
  for (int i = span.first; i < span.last; ++i) {
    const float distance = (i - mean) / sigma;
    values[i] = std::fabs(distance) <= 3 ? std::exp(-0.5f * distance * distance) : 0.0f;
  }
  return span;
}

// Draws a joint of all people of an image onto its map (height, width).
void draw(const Keypoints& k, int64_t image, int joint, float* across, float* down, float* map) {
  std::memset(map, 0, sizeof(float) * k.height * k.width);
  for (int person = 0; person < k.people; ++person) {
    const int64_t owner = image * k.people + person, at = owner * k.joints + joint;
    if (!(k.scores[at] > 0)) continue;
    const Span columns = gaussian(k.xy[2 * at], k.sigma[owner], k.width, across);
    const Span rows = gaussian(k.xy[2 * at + 1], k.sigma[owner], k.height, down);
    for (int y = rows.first; y < rows.last; ++y) {
      const float peak = down[y] * k.scores[at];
      float* row = map + int64_t(y) * k.width;
      for (int x = columns.first; x < columns.last; ++x)
        row[x] = std::max(row[x], std::min(peak * across[x], 1.0f));
    }
  }
}

}  // namespace

extern "C" void draw_keypoints(const Keypoints* keypoints, float* heatmaps, int threads) {
  const Keypoints& k = *keypoints;
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> across(k.width), down(k.height);
#pragma omp for
    for (int64_t map = 0; map < k.images * k.joints; ++map)
      draw(k, map / k.joints, static_cast<int>(map % k.joints), across.data(), down.data(),
           heatmaps + map * k.height * k.width);
  }
}
