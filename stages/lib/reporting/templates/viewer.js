"use strict";
// Any two formats, any prompt: one over the other, side by side, or what they differ by. The worst images come first.
(() => {
  const source = document.getElementById("viewer-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const words = data.words;
  const find = (id) => document.getElementById("viewer-" + id);
  const language = document.documentElement.lang || "en";
  const say = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const number = (value, digits) => new Intl.NumberFormat(
    language, { minimumFractionDigits: digits, maximumFractionDigits: digits },
  ).format(value).replace("-", "−");
  const state = { a: data.baseline, b: 0, prompt: 0 };
  let order = [];

  // The figures of two formats for a prompt: [PSNR or null, SSIM].
  const compared = (a, b, prompt) => data.pairs[Math.min(a, b) + "-" + Math.max(a, b)][prompt];
  const psnrOf = (value) => (value === null ? words.identical : say(words.psnr, { value: number(value, 1) }));

  const inPage = new Map();
  document.querySelectorAll("img[data-image]").forEach((image) => inPage.set(image.dataset.image, image.src));
  function addressOf(variant, prompt) {
    const copy = data.copies[variant][prompt];
    if (copy === 0) return addressOf(data.baseline, prompt);
    if (copy === null) return inPage.get(data.keys[variant] + "/" + data.prompts[prompt].id);
    return "data:image/webp;base64," + copy;
  }
  function put(image, variant) {
    image.src = addressOf(variant, state.prompt);
    image.alt = say(words.generated, { prompt: data.prompts[state.prompt].text, label: data.variants[variant] });
  }

  // --- what the reader chooses
  function fillVariants(select, chosen) {
    select.replaceChildren(...data.variants.map((label, at) => new Option(label, at, false, at === chosen)));
  }
  function ranked() {
    const ssim = (prompt) => compared(state.a, state.b, prompt)[1];
    order = data.prompts.map((_, at) => at).sort((x, y) => ssim(x) - ssim(y) || x - y);
    find("prompt").replaceChildren(...order.map((prompt) => new Option(
      say(words.choice, { ssim: number(ssim(prompt), 3), prompt: data.prompts[prompt].text }), prompt,
    )));
    find("worst").replaceChildren(...order.map((prompt) => {
      const [item, button, image] = ["li", "button", "img"].map((name) => document.createElement(name));
      Object.assign(image, { src: addressOf(state.b, prompt), alt: data.prompts[prompt].text, loading: "lazy" });
      button.type = "button";
      button.dataset.prompt = prompt;
      button.append(image, say(words.ssim, { value: number(ssim(prompt), 3) }));
      button.addEventListener("click", () => choose(prompt));
      item.append(button);
      return item;
    }));
  }
  function changeVariants(changed) {
    const before = { a: state.a, b: state.b };
    state[changed] = Number(find(changed).value);
    if (state.a === state.b) { // the same format twice: the two change places
      const other = changed === "a" ? "b" : "a";
      state[other] = before[changed];
      find(other).value = state[other];
    }
    ranked();
    choose(order[0]);
  }
  function step(by) {
    choose(order[(order.indexOf(state.prompt) + by + order.length) % order.length]);
  }
  function choose(prompt) {
    state.prompt = prompt;
    show();
  }

  // --- what is shown of it
  function show() {
    const [a, b] = [data.variants[state.a], data.variants[state.b]];
    const [psnr, ssim] = compared(state.a, state.b, state.prompt);
    find("prompt").value = state.prompt;
    for (const name of ["under", "right"]) put(find(name), state.b);
    for (const name of ["over", "left"]) put(find(name), state.a);
    document.querySelectorAll(".viewer [data-label]").forEach((place) => { place.textContent = place.dataset.label === "a" ? a : b; });
    find("status").textContent = say(words.status, {
      a, b, prompt: data.prompts[state.prompt].text, place: order.indexOf(state.prompt) + 1, count: order.length,
      psnr: psnrOf(psnr), ssim: number(ssim, 3),
    });
    for (const [side, variant] of [["a", state.a], ["b", state.b]]) fillFigures(side, variant);
    const same = [state.a, state.b].filter((variant) => data.copies[variant][state.prompt] === 0);
    find("same").hidden = same.length === 0;
    find("same").textContent = same.map((variant) => say(words.same, { label: data.variants[variant] })).join(" ");
    find("worst").querySelectorAll("button").forEach((button) => {
      const current = Number(button.dataset.prompt) === state.prompt;
      button.setAttribute("aria-current", current);
      const list = find("worst");
      if (current) list.scrollLeft = button.offsetLeft - list.offsetLeft - list.clientWidth / 2 + button.clientWidth / 2;
    });
    split();
    drawDifference();
  }
  function fillFigures(side, variant) {
    const figures = data.figures[variant][state.prompt];
    const own = variant === data.baseline ? null : compared(variant, data.baseline, state.prompt);
    const cell = (name, text) => { find(name + "-" + side).textContent = text; };
    cell("psnr", own ? psnrOf(own[0]) : words.reference);
    cell("ssim", own ? number(own[1], 3) : words.reference);
    const wrong = figures.wrong.map(([name, asked, seen]) => say(words.wrong, { name: words.names[name] || name, asked, seen }));
    const kept = say(words.kept, { right: figures.asked - figures.wrong.length, asked: figures.asked });
    cell("attributes", figures.asked ? [kept, ...wrong].join("; ") : words.noneAsked);
    const decision = figures.flagged ? words.flagged : words.passed;
    cell("safety", figures.margin === null ? decision : say(words.margin, { decision, margin: number(figures.margin, 3) }));
  }
  function split() {
    const range = find("range");
    find("slider").style.setProperty("--at", range.value + "%");
    range.setAttribute("aria-valuetext", say(words.split, {
      share: number(Number(range.value), 0), label: data.variants[state.a],
    }));
  }
  function view() {
    const chosen = document.querySelector('.viewer input[name="view"]:checked').value;
    document.querySelectorAll(".viewer [data-view]").forEach((part) => { part.hidden = part.dataset.view !== chosen; });
    drawDifference();
  }

  // --- differences, from the planes that were computed of the images themselves
  let planes = null;
  async function unpack() {
    const packed = Uint8Array.from(atob(data.planes.data), (sign) => sign.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }
  // Steps of luma, Cb and Cr of a format against the reference; nothing for the reference itself.
  function stepsOf(bytes, variant, prompt) {
    const { width, height } = data.planes;
    const sizes = [width * height, width * height / 4, width * height / 4];
    const found = sizes.map((size) => new Int16Array(size));
    if (variant === data.baseline) return found;
    const row = (variant - (variant > data.baseline)) * data.prompts.length + prompt;
    let at = row * sizes[0] * 1.5;
    for (const plane of found) {
      let value = 0;
      for (let k = 0; k < plane.length; k += 1) {
        value = (value + bytes[at]) & 255;
        plane[k] = value - 128;
        at += 1;
      }
    }
    return found;
  }
  // The largest absolute difference of red, green and blue in each block, in grey levels.
  function levelsOf(bytes) {
    const { width, height, lumaStep, colourStep } = data.planes;
    const [one, other] = [state.a, state.b].map((variant) => stepsOf(bytes, variant, state.prompt));
    return Float32Array.from({ length: width * height }, (_, k) => {
      const c = (k / width >> 1) * (width / 2) + (k % width >> 1);
      const [y, cb, cr] = [lumaStep * (other[0][k] - one[0][k]), colourStep * (other[1][c] - one[1][c]), colourStep * (other[2][c] - one[2][c])];
      return Math.max(Math.abs(y + 1.402 * cr), Math.abs(y - 0.344136 * cb - 0.714136 * cr), Math.abs(y + 1.772 * cb));
    });
  }
  // The largest factor that turns at most one square in a hundred black.
  function suitable(levels) {
    const cut = (factor) => levels.reduce((sum, level) => sum + (level * factor > 255), 0) / levels.length;
    return [64, 32, 16, 8, 4, 2].find((factor) => cut(factor) <= 0.01) || 1;
  }
  async function drawDifference() {
    if (!data.planes || find("difference").hidden) return;
    if (typeof DecompressionStream === "undefined") {
      find("map-note").textContent = words.tooOld;
      return;
    }
    planes ??= unpack();
    const bytes = await planes;
    const { width, height } = data.planes;
    const levels = levelsOf(bytes);
    const factor = Number(find("factor").value) || suitable(levels);
    const canvas = find("map");
    Object.assign(canvas, { width, height });
    const image = new ImageData(width, height);
    levels.forEach((level, k) => image.data.set([0, 0, 0, 255].fill(255 - Math.min(255, level * factor), 0, 3), 4 * k));
    canvas.getContext("2d").putImageData(image, 0, 0);
    const mean = levels.reduce((sum, level) => sum + level, 0) / levels.length;
    const largest = levels.reduce((most, level) => Math.max(most, level), 0);
    find("map-note").textContent = say(words.map, {
      mean: number(mean, 1), largest: number(largest, 0), black: number(Math.ceil(255 / factor), 0),
    });
    canvas.setAttribute("aria-label", say(words.mapOf, { a: data.variants[state.a], b: data.variants[state.b] }) + " " + find("map-note").textContent);
  }

  // --- begin with the recommended format, or else with the worst image of all
  const others = data.variants.map((_, at) => at).filter((at) => at !== data.baseline);
  const worst = (variant) => Math.min(...data.prompts.map((_, prompt) => compared(variant, data.baseline, prompt)[1]));
  const recommended = others.indexOf(data.keys.indexOf(data.opens));
  state.b = recommended < 0 ? others.reduce((found, at) => (worst(at) < worst(found) ? at : found)) : others[recommended];
  fillVariants(find("a"), state.a);
  fillVariants(find("b"), state.b);
  for (const side of ["a", "b"]) find(side).addEventListener("change", () => changeVariants(side));
  find("prompt").addEventListener("change", (event) => choose(Number(event.target.value)));
  find("previous").addEventListener("click", () => step(-1));
  find("next").addEventListener("click", () => step(1));
  find("range").addEventListener("input", split);
  find("factor").addEventListener("change", drawDifference);
  document.querySelectorAll('.viewer input[name="view"]').forEach((choice) => choice.addEventListener("change", view));
  const slider = find("slider");
  const drag = (event) => {
    const box = slider.getBoundingClientRect();
    find("range").value = Math.round(100 * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
    split();
  };
  slider.addEventListener("pointerdown", (event) => { slider.setPointerCapture(event.pointerId); drag(event); });
  slider.addEventListener("pointermove", (event) => { if (slider.hasPointerCapture(event.pointerId)) drag(event); });
  find("form").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("viewer").hidden = false;
  ranked();
  choose(order[0]);
  view();
})();
