// What the reading room does besides: marks and answers without a new page, the film's zoom and window, keys. Without it every
// page works by links and forms. Nothing is fetched from elsewhere, and no text is ever taken for markup: what is put into the
// page was rendered, and escaped, by the room itself.
"use strict";
(() => {
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // The same page at another address, and those parts of it that carry a name, put in the place of the old ones.
  async function swap(address, only) {
    const answer = await fetch(address, { credentials: "same-origin", headers: { accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of all("[data-part]")) {
      if (only && !only(part.dataset.part)) continue;
      const fresh = one(`[data-part="${CSS.escape(part.dataset.part)}"]`, page);
      if (fresh) part.replaceWith(document.importNode(fresh, true));
    }
  }

  // Where the model looks: asked for after the page is there, one finding at a time.
  let looked = 0;
  async function look(address, finding, says) {
    const turn = ++looked;
    const before = one('[data-part="looking"]');
    if (!before) return;
    before.classList.add("is-busy");
    const state = one("[data-state]", before);
    if (finding) state.textContent = `Looking at what the model goes by for ${finding} …`;
    else if (says) state.textContent = says;
    const held = document.activeElement && document.activeElement.closest("[data-look]");
    try {
      const asked = new URL(address, location.href);
      await swap(asked.pathname + asked.search, (name) => turn === looked && name !== "similar");
      if (held && turn === looked) {
        const again = all("[data-look]").find((link) => link.textContent === held.textContent);
        if (again) again.focus();
      }
    } catch (error) {
      if (turn !== looked) return;
      before.classList.remove("is-busy");
      state.textContent = "This could not be loaded just now; the links still lead there.";
    }
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-look]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      look(link.href, link.dataset.look === "off" ? null : link.textContent);
    }
    const truth = event.target.closest("[data-truth]");
    if (truth && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      look(truth.href, null, "Holding what is marked against the model …");
    }
    const similar = event.target.closest("[data-similar]");
    if (similar && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      one("[data-similar-state]").textContent = "Looking among the training cases …";
      const asked = new URL(similar.href, location.href);
      swap(asked.pathname + asked.search, (name) => name === "similar").catch(() => {
        one("[data-similar-state]").textContent = "This could not be loaded just now.";
      });
    }
    const keys = event.target.closest("[data-keys]");
    if (keys) {
      event.preventDefault();
      showKeys();
    }
  });
  const looking = one('[data-part="looking"]');
  if (looking && looking.dataset.marks === "off" && !location.search && location.hash !== "#h-if") {
    const first = all("[data-look]", looking).find((link) => link.textContent === looking.dataset.finding);
    if (first) look(first.href, first.textContent);
  }

  // Estimates of the list that were not there in time.
  const waiting = one("[data-waiting]");
  if (waiting) {
    const again = async (left) => {
      await new Promise((done) => setTimeout(done, 700));
      const held = document.activeElement && document.activeElement.closest("[data-row]");
      try { await swap(location.pathname + location.search); } catch { return; }
      if (held) (all("[data-row]").find((link) => link.href === held.href) || held).focus();
      if (left && one("[data-waiting]")) again(left - 1);
    };
    again(60);
  }

  // The film: zoom, move, window and level. The window is a line through the grey values, done by a filter.
  const SVG = "http://www.w3.org/2000/svg";
  const shade = (tag, settings, into) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(settings)) made.setAttribute(name, value);
    into.appendChild(made);
    return made;
  };
  all("[data-film]").forEach((film, number) => {
    const sheet = one("[data-sheet]", film), view = one(".view", film), picture = one("img", film);
    one("[data-tools]", film).hidden = false;
    const held = shade("svg", { width: 0, height: 0, "aria-hidden": "true" }, film);
    const filter = shade("filter", { id: `window-${number}`, "color-interpolation-filters": "sRGB" }, held);
    const transfer = shade("feComponentTransfer", {}, filter);
    const lines = ["R", "G", "B"].map((name) => shade(`feFunc${name}`, { type: "linear", slope: 1, intercept: 0 }, transfer));
    const width = one("[data-window]", film), level = one("[data-level]", film);
    let scale = 1, left = 0, top = 0;
    const place = () => {
      const wide = view.clientWidth, high = view.clientHeight;
      left = Math.min(0, Math.max(wide - wide * scale, left));
      top = Math.min(0, Math.max(high - high * scale, top));
      sheet.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
      film.classList.toggle("is-large", scale > 1);
      film.dataset.scale = scale.toFixed(2);
    };
    const zoom = (factor, x = view.clientWidth / 2, y = view.clientHeight / 2) => {
      const next = Math.min(12, Math.max(1, scale * factor));
      left = x - ((x - left) * next) / scale;
      top = y - ((y - top) * next) / scale;
      scale = next;
      place();
    };
    const shades = () => {
      const slope = 100 / Number(width.value), intercept = 0.5 - slope * (Number(level.value) / 100);
      for (const each of lines) { each.setAttribute("slope", slope); each.setAttribute("intercept", intercept); }
      const plain = width.value === "100" && level.value === "50";
      picture.style.filter = plain ? "" : `url(#window-${number})`;
    };
    width.addEventListener("input", shades);
    level.addEventListener("input", shades);
    one("[data-reset]", film).addEventListener("click", () => { width.value = 100; level.value = 50; shades(); });
    for (const button of all("[data-zoom]", film)) {
      const factor = { in: 1.4, out: 1 / 1.4, fit: 0 }[button.dataset.zoom];
      button.addEventListener("click", () => zoom(factor));
    }
    film.addEventListener("keydown", (event) => {
      if (event.target !== film || event.ctrlKey || event.metaKey || event.altKey) return;
      const step = 40;
      const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
      if (event.key === "+" || event.key === "=") zoom(1.4);
      else if (event.key === "-") zoom(1 / 1.4);
      else if (event.key === "0") zoom(0);
      else if (moves[event.key] && scale > 1) { left += moves[event.key][0]; top += moves[event.key][1]; place(); }
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    view.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && scale === 1 && document.activeElement !== film) return;
      event.preventDefault();
      const at = view.getBoundingClientRect();
      zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - at.left, event.clientY - at.top);
    }, { passive: false });
    let from = null;
    view.addEventListener("pointerdown", (event) => {
      if (scale === 1) return;
      from = [event.clientX - left, event.clientY - top];
      view.setPointerCapture(event.pointerId);
    });
    view.addEventListener("pointermove", (event) => {
      if (!from) return;
      left = event.clientX - from[0];
      top = event.clientY - from[1];
      place();
    });
    for (const name of ["pointerup", "pointercancel"]) view.addEventListener(name, () => { from = null; });
  });

  // What the model would answer if: asked as soon as something is changed.
  const form = one("[data-if]");
  if (form) {
    const then = one("[data-then]"), rows = one("[data-rows]"), told = one("[data-told]"), abstains = one("[data-abstains]");
    const cell = (tag, text, kind) => {
      const made = document.createElement(tag);
      if (kind) made.className = kind;
      made.textContent = text;
      return made;
    };
    const show = (answer) => {
      told.textContent = answer.changed.length ? `Changed: ${answer.changed.join("; ")}.` : "Nothing is changed.";
      abstains.hidden = answer.abstained === null;
      abstains.textContent = answer.abstained === null ? "" : `The model would abstain: ${answer.abstained}.`;
      rows.replaceChildren(...answer.findings.map((each) => {
        const row = document.createElement("tr"), name = cell("th", each.finding), value = cell("td", "", "num");
        name.scope = "row";
        value.append(cell("b", each.then_told));
        row.append(name, cell("td", each.now_told || "abstains", "num"), value, cell("td", each.set, "quiet"));
        return row;
      }));
      rows.closest("table").hidden = !answer.findings.length;
    };
    let turn = 0, timer = 0;
    const ask = async () => {
      const mine = ++turn, began = performance.now();
      then.classList.add("is-busy");
      try {
        const answer = await fetch(form.dataset.if, {
          method: "POST", credentials: "same-origin", headers: { accept: "application/json" }, body: new URLSearchParams(new FormData(form)),
        });
        const said = await answer.json();
        if (mine !== turn) return;
        if (answer.ok) show(said);
        else {
          const faults = (said.faults || []).map((each) => `${nameOf(each.pointer)} ${each.found}: ${each.remedy}`);
          told.textContent = `${faults.length ? faults.join("; ") : said.detail}.`;
          abstains.hidden = true;
          rows.closest("table").hidden = true;
        }
      } catch {
        if (mine === turn) told.textContent = "The model could not be asked just now.";
      }
      if (mine === turn) { then.classList.remove("is-busy"); then.dataset.ms = Math.round(performance.now() - began); then.dataset.turn = mine; }
    };
    const nameOf = (pointer) => {
      const field = form.elements.namedItem(pointer.slice(1));
      return (field && field.getAttribute && field.getAttribute("aria-label")) || "This";
    };
    const soon = (wait) => { clearTimeout(timer); timer = setTimeout(ask, wait); };
    form.addEventListener("input", (event) => soon(event.target.matches("input:not([type=checkbox])") ? 250 : 0));
    form.addEventListener("submit", (event) => { event.preventDefault(); soon(0); });
    form.addEventListener("reset", () => soon(0));
    one("[data-as-it-is]", form).hidden = false;
  }

  // Keys. A page that is typed into keeps them for itself.
  const keys = one("#keys");
  function showKeys() {
    const opens = !(keys.open && keys.classList.contains("is-called"));
    keys.open = opens;
    keys.classList.toggle("is-called", opens);
    if (opens) one("summary", keys).focus();
  }
  const follow = (selector) => { const link = one(selector); if (link) link.click(); return Boolean(link); };
  const go = (selector) => {
    const found = one(selector);
    if (found) { found.focus({ preventScroll: true }); found.scrollIntoView({ block: "center" }); }
    return Boolean(found);
  };
  const step = (by) => {
    const links = all("[data-row]"), at = links.indexOf(document.activeElement);
    const next = links[Math.min(links.length - 1, Math.max(0, at + by))];
    if (next) next.focus();
    return links.length > 0;
  };
  let lastLook = null;
  const toggle = () => {
    const links = all("[data-look]"), current = links.find((link) => link.getAttribute("aria-current"));
    if (!links.length) return false;
    const off = links[links.length - 1];
    if (current && current !== off) { lastLook = current.textContent; off.click(); }
    else (links.find((link) => link.textContent === lastLook) || links[0]).click();
    return true;
  };
  const deeds = {
    "?": () => { showKeys(); return true; },
    "/": () => go("[data-filter]"),
    j: () => step(1), k: () => step(-1),
    n: () => follow('a[rel="next"]'), p: () => follow('a[rel="prev"]'),
    l: () => { if (!one("[data-case]")) return false; location.href = "/"; return true; },
    o: toggle, f: () => go("[data-film]"), i: () => go("[data-if] input, .judge input:not([type=hidden])"),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (keys.classList.contains("is-called")) showKeys();
      else if (document.activeElement) document.activeElement.blur();
      return;
    }
    if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
    let done = false;
    if (/^[1-9]$/.test(event.key)) {
      const links = all('[data-look]:not([data-look="off"])'), link = links[Number(event.key) - 1];
      if (link) { link.click(); done = true; }
    } else if (deeds[event.key]) done = deeds[event.key]();
    if (done) event.preventDefault();
  });
})();
