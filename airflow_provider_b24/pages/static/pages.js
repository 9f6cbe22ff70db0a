// What a page does by itself: Airflow's look, links out of Airflow's frame, ages and countdowns, and staying up to date.
"use strict";
(() => {
  const root = document.documentElement;
  const frame = (() => {
    try {
      return window.parent !== window && window.parent.document ? window.parent : null;
    } catch {
      return null; // a frame of somebody else's
    }
  })();

  // Airflow marks its own document `dark`; outside of it, it has left its choice in the storage of this origin.
  function takeLook() {
    let dark;
    if (frame) {
      dark = frame.document.documentElement.classList.contains("dark");
    } else {
      const chosen = localStorage.getItem("theme");
      dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
    }
    root.classList.toggle("dark", dark);
    root.classList.toggle("framed", Boolean(frame));
  }
  takeLook();
  if (frame) {
    new MutationObserver(takeLook).observe(frame.document.documentElement, { attributeFilter: ["class"] });
  } else {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", takeLook);
  }

  // In Airflow's frame neither `_top` nor `_blank` works: its own document has to follow the link.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-top], a[target=_blank]");
    if (!link || !frame || event.defaultPrevented) return;
    event.preventDefault();
    const own = frame.document.createElement("a");
    own.href = link.href;
    if (link.target === "_blank" || event.ctrlKey || event.metaKey) own.target = "_blank";
    own.rel = "noopener";
    frame.document.body.append(own);
    own.click();
    own.remove();
  });

  // What is shown in the frame stands behind the `#` of Airflow's address, so that it can be sent to others.
  function followAddress(base) {
    if (!frame || !frame.location.pathname.includes("/plugin/bitrix24")) return;
    // Airflow 3.3.2 does that itself, in the path of its address.
    if (frame.location.pathname.includes(`${base}/`)) return;
    const here = location.pathname.slice(base.length) + location.search;
    const wanted = frame.location.hash.slice(1);
    const fresh = frame.__bitrix24Shown === undefined;
    frame.__bitrix24Shown = here;
    if (fresh && /^\/calls(\/[0-9a-f]{32}$|\?|$)/.test(wanted) && wanted !== here) {
      location.replace(base + wanted);
      return;
    }
    if (here.startsWith("/calls")) {
      frame.history.replaceState(frame.history.state, "", frame.location.pathname + frame.location.search + "#" + here);
    }
  }

  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  function span(seconds) {
    let left = Math.max(Math.floor(seconds), 0);
    const parts = [];
    for (const [name, size] of units) {
      parts.push([Math.floor(left / size), name]);
      left %= size;
    }
    while (parts.length > 1 && parts[0][0] === 0) parts.shift();
    const shown = parts.slice(0, 2).filter(([number]) => number).map((part) => part.join(" "));
    return shown.join(" ") || "0 s";
  }

  function tellTimes() {
    for (const time of document.querySelectorAll("time")) {
      const at = new Date(time.dateTime);
      const seconds = (at - Date.now()) / 1000;
      if ("ago" in time.dataset) time.textContent = span(-seconds) + " ago";
      else if ("countdown" in time.dataset) time.textContent = seconds > 0 ? span(seconds) + " left" : "over";
      else if (!time.title) {
        time.title = time.textContent;
        time.textContent = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
      }
    }
  }

  function countChosen() {
    const acts = document.getElementById("chosen");
    if (!acts) return;
    const number = document.querySelectorAll("input[name=call]:checked").length;
    for (const button of acts.querySelectorAll("button")) {
      button.dataset.title ??= button.textContent;
      button.textContent = number ? `${button.dataset.title} (${number})` : button.dataset.title;
      button.disabled = number === 0;
    }
  }
  document.addEventListener("change", (event) => {
    if (event.target.id === "all") {
      for (const box of document.querySelectorAll("input[name=call]")) box.checked = event.target.checked;
    }
    if (event.target.closest(".filters") && event.target.tagName === "SELECT") event.target.form.requestSubmit();
    countChosen();
  });

  // Puts the new content in the place of the old: what was chosen, open, typed, and at which row somebody reads, stays.
  function replace(live, fresh) {
    const rows = [...live.querySelectorAll("tr[id]")];
    const anchor = scrollY > 0 ? rows.find((row) => row.getBoundingClientRect().bottom > 0) : null;
    const top = anchor?.getBoundingClientRect().top;
    const chosen = new Set([...live.querySelectorAll("input[name=call]:checked")].map((box) => box.value));
    const open = new Set([...live.querySelectorAll("details[open]")].map((one) => one.id));
    const words = live.querySelector("input[type=search]")?.value;
    live.replaceChildren(...fresh.childNodes);
    const search = live.querySelector("input[type=search]");
    if (search && words !== undefined) search.value = words;
    for (const box of live.querySelectorAll("input[name=call]")) box.checked = chosen.has(box.value);
    for (const one of live.querySelectorAll("details")) one.open = open.has(one.id);
    const kept = anchor && document.getElementById(anchor.id);
    if (kept) scrollBy(0, kept.getBoundingClientRect().top - top);
    tellTimes();
    countChosen();
  }

  async function refresh(live) {
    const typing = document.activeElement?.closest("input:not([type=checkbox]), select, textarea");
    if (document.hidden || typing || !getSelection().isCollapsed) return;
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!response.ok) {
        if (response.status === 401) location.reload();
        return;
      }
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = page.getElementById("live");
      if (fresh) replace(live, fresh);
    } catch {
      // The server is away: what is shown stays, and the next turn tries again.
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    followAddress(document.body.dataset.base);
    tellTimes();
    countChosen();
    setInterval(tellTimes, 1000);
    const live = document.getElementById("live");
    const seconds = Number(live?.dataset.refresh);
    if (seconds) setInterval(() => refresh(live), seconds * 1000);
  });
})();
