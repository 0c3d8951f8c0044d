"use strict";

/* A 3D view of a rig and its skeletons over time, on a 2D canvas. Lengths are mm, z is up.
 * root: an element; scene: what voxelpose_core/pages/scene.py makes. */
function skeletonViewer(root, scene) {
  const ICON_SHARE = 0.038, NEAR = orbitCamera.NEAR;
  const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4], MISSING = -32768;
  const joints = scene.joint_names.length, data = unpack(scene), stamps = scene.stamps;
  const ui = build(root), context = ui.canvas.getContext("2d");
  const hidden = new Set();
  const corners = [0, 1, 2, 3, 4, 5, 6, 7].map(i =>
    [0, 1, 2].map(k => (i >> k & 1 ? scene.space.high : scene.space.low)[k]));
  const eye = orbitCamera(), {project, depth} = eye;
  let colors = {}, width = 0, height = 0, index = 0, playing = false, time = stamps[0] || 0, last = 0;
  let icon = 0, pending = false, marked = null;

  // Data ----------------------------------------------------------------------------------------

  function decode(text) {
    const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0)), values = new DataView(bytes.buffer);
    return Int16Array.from({length: bytes.length / 2}, (_, i) => values.getInt16(2 * i, true));
  }

  function unpack(scene) {
    const counts = decode(scene.counts), first = [0];
    counts.forEach((count, i) => first.push(first[i] + count));
    return {first, people: decode(scene.skeleton_people), coordinates: decode(scene.coordinates)};
  }

  /* Skeletons of a frame set: {person, points: per joint [x, y, z], or null where it is not valid}. */
  function skeletonsAt(frame) {
    const found = [];
    for (let s = data.first[frame]; s < data.first[frame + 1]; s++) {
      const points = [];
      for (let j = 0; j < joints; j++) {
        const at = 3 * (s * joints + j), c = data.coordinates;
        points.push(c[at] === MISSING ? null : [0, 1, 2].map(k => c[at + k] * scene.step + scene.origin[k]));
      }
      found.push({person: data.people[s], points});
    }
    return found;
  }

  // Page ----------------------------------------------------------------------------------------

  function element(tag, parent, properties = {}, text = "") {
    const made = Object.assign(document.createElement(tag), properties);
    made.textContent = text;
    parent.append(made);
    return made;
  }

  function build(root) {
    root.classList.add("viewer");
    const stage = element("div", root, {className: "stage"}), bar = element("div", root, {className: "bar"});
    const ui = {
      canvas: element("canvas", stage, {tabIndex: 0}),
      legend: element("div", stage, {className: "legend"}),
      tip: element("div", stage, {className: "tip", hidden: true}),
      play: element("button", bar, {type: "button", title: "Play or pause (space bar)"}, "▶"),
      slider: element("input", bar, {type: "range", min: 0, max: Math.max(0, stamps.length - 1), value: 0}),
      clock: element("output", bar, {className: "clock"}),
      speed: element("select", bar, {title: "Speed"}),
      home: element("button", bar, {type: "button", title: "Back to the first view"}, "⌂"),
    };
    ui.canvas.setAttribute("aria-label", "3D view of the rig and the skeletons");
    ui.slider.setAttribute("aria-label", "Frame");
    ui.home.setAttribute("aria-label", "Back to the first view");
    for (const speed of SPEEDS) element("option", ui.speed, {value: speed}, `${speed}×`);
    ui.speed.value = 1;
    ui.slider.disabled = ui.play.disabled = stamps.length < 2;
    scene.people.forEach((person, i) => {
      const label = element("label", ui.legend);
      const box = element("input", label, {type: "checkbox", checked: true});
      box.style.accentColor = person.colors[0];
      element("span", label, {className: "chip"}).style.background = person.colors[0];
      element("span", label, {}, person.name);
      box.addEventListener("change", () => { box.checked ? hidden.delete(i) : hidden.add(i); redraw(); });
    });
    const note = scene.people.length ? "right side of the body darker" : scene.empty;
    if (note) element("small", ui.legend, {}, note);
    return ui;
  }

  function home() {
    const [low, high] = [scene.space.low, scene.space.high];
    const middle = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, scene.ground + 800];
    eye.home(middle, scene.azimuth, corners, scene.cameras.map(camera => camera.center));
    icon = ICON_SHARE * eye.distance();
    redraw();
  }

  // Drawing -------------------------------------------------------------------------------------

  /* A line in space, cut off where it passes the viewer. */
  function line(a, b, color, thickness, alpha = 1) {
    const depths = [a, b].map(depth);
    if (Math.max(...depths) < NEAR) return;
    const cut = (p, q, dp, dq) => dp >= NEAR ? p : p.map((v, k) => v + (q[k] - v) * (NEAR - dp) / (dq - dp));
    const [p, q] = [cut(a, b, depths[0], depths[1]), cut(b, a, depths[1], depths[0])].map(project);
    context.globalAlpha = alpha;
    stroke(p, q, color, thickness);
    context.globalAlpha = 1;
  }

  function stroke(p, q, color, thickness) {
    context.strokeStyle = color;
    context.lineWidth = thickness;
    context.beginPath();
    context.moveTo(p[0], p[1]);
    context.lineTo(q[0], q[1]);
    context.stroke();
  }

  function drawFloor() {
    const {low, high} = scene.space, center = [0, 1].map(k => (low[k] + high[k]) / 2);
    const reach = Math.max(Math.hypot(high[0] - low[0], high[1] - low[1]) / 2, 0.22 * eye.distance()) + 2000;
    const step = reach < 20000 ? 1000 : 5000, pieces = 14;
    for (const axis of [0, 1]) {
      const other = 1 - axis;
      const first = Math.ceil((center[axis] - reach) / step) * step;
      for (let tick = first; tick < center[axis] + reach; tick += step) {
        for (let i = 0; i < pieces; i++) {
          const ends = [i, i + 1].map(n => {
            const point = [0, 0, scene.ground];
            point[axis] = tick;
            point[other] = center[other] + reach * (2 * n / pieces - 1);
            return point;
          });
          const far = Math.hypot(tick - center[axis],
            (ends[0][other] + ends[1][other]) / 2 - center[other]) / reach;
          if (far < 1) line(ends[0], ends[1], colors.grid, 1, 1 - far ** 1.5);
        }
      }
    }
  }

  function drawSpace() {
    const floor = [0, 1, 3, 2].map(i => project(corners[i]));
    if (floor.every(p => p[2] > NEAR)) fill(floor, colors.space, 0.08);
    for (let a = 0; a < 8; a++)
      for (const bit of [1, 2, 4])
        if (!(a & bit)) line(corners[a], corners[a | bit], colors.space, a < 4 && bit < 4 ? 1.6 : 1,
          a < 4 && bit < 4 ? 0.9 : 0.45);
  }

  function fill(polygon, color, alpha) {
    context.globalAlpha = alpha;
    context.fillStyle = color;
    context.beginPath();
    polygon.forEach(p => context.lineTo(p[0], p[1]));
    context.fill();
    context.globalAlpha = 1;
  }

  function drawCamera(camera) {
    const plane = camera.corners.map(c => c.map((v, k) => camera.center[k] + v * icon));
    const seen = plane.map(project), apex = project(camera.center);
    if (Math.min(apex[2], ...seen.map(p => p[2])) < NEAR) return;
    fill(seen, colors.camera, 0.16);
    seen.forEach((p, i) => {
      stroke(p, apex, colors.camera, 1);
      stroke(p, seen[(i + 1) % 4], colors.camera, 1.5);
    });
    context.fillStyle = colors.camera;
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    const below = Math.max(apex[1], ...seen.map(p => p[1])) + 15;
    context.fillText(camera.name, (apex[0] + seen[0][0] + seen[2][0]) / 3, below);
  }

  const mean = points => [0, 1, 2].map(k => points.reduce((sum, p) => sum + p[k], 0) / points.length);

  /* [start, end, radius in mm, shade] of all tubes whose joints are valid. */
  function tubes(points) {
    const found = scene.limbs.filter(([a, b]) => points[a] && points[b])
      .map(([a, b, radius, shade]) => [points[a], points[b], radius, shade]);
    const all = group => group.length && group.every(j => points[j]);
    if (all(scene.head)) {
      const head = mean(scene.head.map(j => points[j]));
      found.push([head, head, scene.head_mm, 0]);
      if (all(scene.shoulders)) found.push([mean(scene.shoulders.map(j => points[j])), head, scene.neck_mm, 0]);
    }
    return found;
  }

  function drawShadow(skeleton) {
    const parts = tubes(skeleton.points).map(([a, b]) =>
      [a, b].map(p => project([p[0], p[1], scene.ground])));
    if (!parts.length || parts.flat().some(p => p[2] < NEAR)) return;
    context.globalAlpha = 0.16;
    context.strokeStyle = colors.shadow;
    context.lineWidth = 110 * eye.focal() / parts[0][0][2];
    context.beginPath();
    for (const [a, b] of parts) {
      context.moveTo(a[0], a[1]);
      context.lineTo(b[0] + 0.1, b[1]);
    }
    context.stroke();
    context.globalAlpha = 1;
  }

  function drawTube([a, b, radius, shade], person) {
    const p = project(a), q = project(b), far = (p[2] + q[2]) / 2;
    if (Math.min(p[2], q[2]) < NEAR) return;
    const thickness = Math.max(1.5, 2 * radius * eye.focal() / far);
    if (a === b) q[0] += 0.1;  // a dot; browsers draw no line of no length
    stroke(p, q, scene.people[person].edges[shade], thickness);
    stroke(p, q, scene.people[person].colors[shade], Math.max(1, 0.74 * thickness));
  }

  function drawMark() {
    ui.tip.hidden = !marked;
    if (!marked) return;
    context.strokeStyle = colors.ink;
    context.lineWidth = 1.5;
    context.beginPath();
    context.arc(marked.at[0], marked.at[1], 6, 0, 7);
    context.stroke();
  }

  function draw() {
    pending = false;
    if (!width) return;
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.lineCap = context.lineJoin = "round";
    drawFloor();
    drawSpace();
    const shown = stamps.length ? skeletonsAt(index).filter(s => !hidden.has(s.person)) : [];
    shown.forEach(drawShadow);
    const items = scene.cameras.map(camera => [depth(camera.center), () => drawCamera(camera)]);
    for (const skeleton of shown)
      for (const tube of tubes(skeleton.points))
        items.push([depth(mean([tube[0], tube[1]])), () => drawTube(tube, skeleton.person)]);
    items.sort((a, b) => b[0] - a[0]).forEach(item => item[1]());
    drawMark();
    ui.slider.value = index;
    const stamp = stamps.length ? `${stamps[index].toFixed(2)} s` : "";
    ui.clock.textContent = stamps.length ? `${stamp} · frame ${scene.frames[index]}` : "rig only";
  }

  function redraw() {
    if (!pending) requestAnimationFrame(draw);
    pending = true;
  }

  function readColors() {
    const style = getComputedStyle(root);
    for (const name of ["grid", "space", "camera", "shadow", "ink"])
      colors[name] = style.getPropertyValue(`--${name}`).trim() || "#888";
    redraw();
  }

  function resize() {
    const ratio = window.devicePixelRatio || 1, box = ui.canvas.getBoundingClientRect();
    if (!box.width || !box.height) return;
    const first = !width;
    [width, height] = [box.width, box.height];
    eye.resize(width, height);
    [ui.canvas.width, ui.canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    first ? home() : redraw();
  }

  // Time ----------------------------------------------------------------------------------------

  function show(frame) {
    index = Math.min(stamps.length - 1, Math.max(0, frame));
    time = stamps[index];
    marked = null;
    redraw();
  }

  function setPlaying(on) {
    playing = on && stamps.length > 1;
    ui.play.textContent = playing ? "❚❚" : "▶";
    ui.play.setAttribute("aria-label", playing ? "Pause" : "Play");
    if (playing && index === stamps.length - 1) show(0);
    last = performance.now();
    if (playing) requestAnimationFrame(tick);
  }

  function tick(now) {
    if (!playing) return;
    time += Math.max(0, now - last) / 1000 * Number(ui.speed.value);
    last = now;
    if (time > stamps[stamps.length - 1]) { time = stamps[0]; index = 0; }
    while (index < stamps.length - 1 && stamps[index + 1] <= time) index++;
    marked = null;
    redraw();
    requestAnimationFrame(tick);
  }

  // Mouse, touch, keys --------------------------------------------------------------------------

  const fingers = new Map();

  function markNearest(x, y) {
    let best = 12;
    marked = null;
    for (const skeleton of stamps.length ? skeletonsAt(index) : [])
      skeleton.points.forEach((point, j) => {
        if (!point || hidden.has(skeleton.person)) return;
        const at = project(point), far = Math.hypot(at[0] - x, at[1] - y);
        if (far < best) { best = far; marked = {at, text: [scene.people[skeleton.person].name,
          scene.joint_names[j], point.map(v => (v / 1000).toFixed(2)).join(", ") + " m"].join(" · ")}; }
      });
    if (marked) {
      ui.tip.textContent = marked.text;
      ui.tip.style.left = `${Math.min(marked.at[0] + 12, width - 230)}px`;
      ui.tip.style.top = `${marked.at[1] + 10}px`;
    }
    redraw();
  }

  function moved(event) {
    const at = ui.canvas.getBoundingClientRect(), here = [event.clientX, event.clientY];
    const before = fingers.get(event.pointerId);
    if (!before) {
      if (!playing) markNearest(here[0] - at.left, here[1] - at.top);
      return;
    }
    const dx = here[0] - before[0], dy = here[1] - before[1];
    marked = null;
    if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const apart = p => Math.hypot(p[0] - other[0], p[1] - other[1]);
      eye.zoom(apart(before) / Math.max(1, apart(here)));
      eye.pan(dx / 2, dy / 2);
    } else if (event.buttons & 6 || event.shiftKey) eye.pan(dx, dy);
    else eye.orbit(dx, dy);
    fingers.set(event.pointerId, here);
    redraw();
  }

  ui.canvas.addEventListener("pointerdown", event => {
    ui.canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  ui.canvas.addEventListener("pointermove", moved);
  for (const name of ["pointerup", "pointercancel"])
    ui.canvas.addEventListener(name, event => fingers.delete(event.pointerId));
  ui.canvas.addEventListener("wheel", event => {
    event.preventDefault();
    eye.zoom(Math.exp(Math.max(-0.3, Math.min(0.3, event.deltaY * 0.0015))));
    redraw();
  }, {passive: false});
  ui.canvas.addEventListener("contextmenu", event => event.preventDefault());
  ui.canvas.addEventListener("dblclick", home);
  ui.canvas.addEventListener("keydown", event => {
    const act = {" ": () => setPlaying(!playing), ArrowRight: () => show(index + 1),
      ArrowLeft: () => show(index - 1), "+": () => eye.zoom(0.9), "-": () => eye.zoom(1.1)}[event.key];
    if (!act) return;
    event.preventDefault();
    act();
    redraw();
  });
  ui.play.addEventListener("click", () => setPlaying(!playing));
  ui.home.addEventListener("click", home);
  ui.slider.addEventListener("input", () => { setPlaying(false); show(Number(ui.slider.value)); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColors);
  new ResizeObserver(resize).observe(ui.canvas);
  // Paper is light, and nothing is drawn later on it.
  const ofPage = document.documentElement.classList;
  window.addEventListener("beforeprint", () => { ofPage.add("print"); readColors(); resize(); draw(); });
  window.addEventListener("afterprint", () => { ofPage.remove("print"); readColors(); });
  readColors();
  // The observer tells the first size late, or in a hidden page never.
  resize();
  if (stamps.length) show(scene.first);
  setPlaying(false);
}
