"use strict";

/* A virtual camera that orbits around a target. Lengths are mm, z is up; pixels are those of the canvas. */
function orbitCamera() {
  const FIELD_OF_VIEW = 30 * Math.PI / 180, ELEVATION = 26 * Math.PI / 180, LARGEST_RETREAT = 1.7;
  const NEAR = orbitCamera.NEAR;
  let width = 1, height = 1, target = [0, 0, 0], azimuth = 0, elevation = ELEVATION, distance = 5000;
  let center, forward, right, down, focal;

  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

  function place() {
    const ca = Math.cos(azimuth), sa = Math.sin(azimuth), ce = Math.cos(elevation), se = Math.sin(elevation);
    const back = [ce * ca, ce * sa, se];
    center = target.map((t, k) => t + distance * back[k]);
    forward = back.map(v => -v);
    right = [-sa, ca, 0];
    down = [se * ca, se * sa, -ce];
    focal = 0.5 * Math.max(width, 1.2 * height) / Math.tan(FIELD_OF_VIEW / 2);
  }

  const depth = point => dot(point.map((v, k) => v - center[k]), forward);

  /* [x, y] in pixels, and the depth. */
  function project(point) {
    const d = point.map((v, k) => v - center[k]), z = dot(d, forward), scale = focal / Math.max(z, NEAR);
    return [width / 2 + scale * dot(d, right), height / 2 + scale * dot(d, down), z];
  }

  function pan(dx, dy) {
    const mm = distance / focal;
    target = target.map((t, k) => t - mm * (dx * right[k] + dy * down[k]));
    place();
  }

  /* Steps back until the points fill the canvas, and moves to their middle. */
  function fit(middle, points) {
    let low, high;
    target = middle;
    for (distance = 1500; distance < 200000; distance *= 1.02) {
      place();
      const seen = points.map(project);
      low = [0, 1].map(k => Math.min(...seen.map(p => p[k])));
      high = [0, 1].map(k => Math.max(...seen.map(p => p[k])));
      if (Math.min(...seen.map(p => p[2])) > NEAR && high[0] - low[0] < 0.86 * width
          && high[1] - low[1] < 0.84 * height) break;
    }
    pan(width / 2 - (low[0] + high[0]) / 2, height / 2 - (low[1] + high[1]) / 2);
    return distance;
  }

  place();
  return {
    project, depth, pan,
    distance: () => distance,
    focal: () => focal,
    resize(newWidth, newHeight) { [width, height] = [newWidth, newHeight]; place(); },
    zoom(factor) { distance = Math.min(3e5, Math.max(400, distance * factor)); place(); },
    orbit(dx, dy) {
      azimuth -= dx * 0.006;
      elevation = Math.min(1.55, Math.max(-0.4, elevation + dy * 0.006));
      place();
    },
    /* Shows the space, and the cameras unless they are far off. */
    home(middle, startAzimuth, space, cameras) {
      [azimuth, elevation] = [startAzimuth, ELEVATION];
      const near = fit(middle, space);
      if (fit(middle, space.concat(cameras)) > LARGEST_RETREAT * near) {
        fit(middle, space);
        distance *= LARGEST_RETREAT;
        place();
      }
    },
  };
}
orbitCamera.NEAR = 100;
