// SPDX-License-Identifier: GPL-3.0-or-later
// Asks every three seconds for the part of the page that changes, and replaces only the elements whose version
// differs, and none that somebody is typing in or has opened.
"use strict";
(() => {
  const PERIOD = 3000;
  const parts = document.getElementById("parts");
  const stale = document.getElementById("stale");
  const address = "/parts?q=" + encodeURIComponent(parts.dataset.q);

  const typed = (element) =>
    element.contains(document.activeElement) ||
    [...element.querySelectorAll("input:not([type=hidden])")].some((input) => input.value !== input.defaultValue) ||
    [...element.querySelectorAll("select")].some((select) => select.selectedIndex > 0);

  function times(root) {
    for (const time of root.querySelectorAll("time")) {
      const date = new Date(time.dateTime);
      const seconds = Math.max(0, Math.round((Date.now() - date) / 1000));
      const [number, unit] =
        seconds < 90 ? [seconds, "s"] :
        seconds < 5400 ? [Math.round(seconds / 60), "min"] :
        seconds < 172800 ? [Math.round(seconds / 3600), "h"] : [Math.round(seconds / 86400), "days"];
      time.title = date.toLocaleString();
      time.textContent = `${number} ${unit} ago`;
    }
  }

  function replace(old, fresh) {
    const open = old.querySelector("details")?.open;
    if (open) {
      fresh.querySelector("details").open = true;
    }
    old.replaceWith(fresh);
  }

  function merge(list, fresh) {
    const wanted = new Map([...fresh.children].map((element) => [element.id, element]));
    for (const element of [...list.children]) {
      if (!wanted.has(element.id) && !element.contains(document.activeElement)) {
        element.remove();
      }
    }
    let before = null;
    for (const [id, element] of wanted) {
      const old = document.getElementById(id);
      if (old === null || old.parentElement !== list) {
        old?.remove();
        before === null ? list.prepend(element) : before.after(element);
        before = element;
        continue;
      }
      before = old;
      if (old.dataset.version !== element.dataset.version && !typed(old)) {
        replace(old, element);
        before = element;
      }
    }
  }

  function show(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    for (const list of fresh.querySelectorAll("[data-list]")) {
      merge(document.getElementById(list.id), list);
    }
    const counts = document.getElementById("counts");
    const newCounts = fresh.getElementById("counts");
    if (counts.dataset.version !== newCounts.dataset.version) {
      counts.replaceWith(newCounts);
    }
    times(document);
  }

  async function ask() {
    try {
      const answer = await fetch(address, { credentials: "same-origin", signal: AbortSignal.timeout(10000) });
      if (answer.status === 401) {
        location.assign("/login");
        return;
      }
      stale.hidden = answer.ok;
      if (answer.ok) {
        show(await answer.text());
      }
    } catch {
      stale.hidden = false;
    }
    setTimeout(ask, document.hidden ? 5 * PERIOD : PERIOD);
  }

  times(document);
  setTimeout(ask, PERIOD);
})();
