// Keeps the status page live and tells a day's count under the pointer. The page is whole without.
"use strict";
(() => {
  const AGAIN_MS = 60000;
  const SELECTOR = "header > p, #main > section, footer > p";
  const main = document.getElementById("main");
  const keyOf = (part) =>
    part.getAttribute("aria-labelledby") ?? part.getAttribute("role") ?? part.parentElement.tagName;
  const partsOf = (page) =>
    new Map([...page.querySelectorAll(SELECTOR)].map((part) => [keyOf(part), part]));
  const markupOf = (parts) => new Map([...parts].map(([key, part]) => [key, part.outerHTML]));
  let known = markupOf(partsOf(document));
  let isFetching = false;

  const selectorOf = (one) => {
    const link = one.getAttribute("href");
    if (link !== null) return `a[href="${CSS.escape(link)}"]`;
    return one.matches("details > summary") ? `#${one.parentElement.id} > summary` : null;
  };

  // what is open stays open, what has the focus keeps it, and a changed sentence is read out
  const replace = (here, there) => {
    if (here.tagName !== "SECTION") {
      here.className = there.className;
      here.innerHTML = there.innerHTML;
      return;
    }
    const open = [...here.querySelectorAll("details[open]")].map((one) => one.id);
    const focused = here.contains(document.activeElement) && selectorOf(document.activeElement);
    here.replaceWith(there);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused) there.querySelector(focused)?.focus();
  };

  // the titles of months are for pages without scripts
  const untitle = () => document.querySelectorAll(".days g > title").forEach((one) => one.remove());

  const take = (page) => {
    const here = partsOf(document);
    const there = partsOf(page);
    const fresh = markupOf(there);
    for (const [key, part] of here) if (!there.has(key)) part.remove();
    let before = document.getElementById("live");
    for (const [key, part] of there) {
      if (!here.has(key)) before.after(part);
      else if (fresh.get(key) !== known.get(key)) replace(here.get(key), part);
      if (part.tagName === "SECTION") before = main.querySelector(`[aria-labelledby="${key}"]`);
    }
    known = fresh;
    untitle();
    document.title = page.title;
    main.dataset.version = page.getElementById("main").dataset.version;
  };

  const refresh = async () => {
    if (isFetching) return;
    isFetching = true;
    try {
      const answer = await fetch("status");
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (answer.ok && page.getElementById("main")) take(page);
    } catch {
      // the server is away; the stream comes again, and the page with it
    } finally {
      isFetching = false;
    }
  };

  const listen = () => {
    const events = new EventSource("status/events");
    events.addEventListener("progress", ({ data }) => {
      document.getElementById("live").innerHTML = data;
    });
    events.addEventListener("page", ({ data }) => {
      if (data !== main.dataset.version) refresh();
    });
    events.addEventListener("error", () => {
      // refused, as where too many listen: a browser does not come again by itself
      if (events.readyState === EventSource.CLOSED) {
        setTimeout(() => { refresh(); listen(); }, AGAIN_MS);
      }
    });
  };

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);

  // a place of the calendar is found in its table: the year's own weeks go across, Mondays on top
  const dayAt = (svg, event) => {
    const at = new DOMPoint(event.clientX, event.clientY);
    const { x, y } = at.matrixTransform(svg.getScreenCTM().inverse());
    const year = Number(svg.dataset.year);
    const offset = (new Date(Date.UTC(year, 0, 1)).getUTCDay() + 6) % 7;
    const number = Math.round(x) * 7 + Math.round(y) - offset;
    const day = new Date(Date.UTC(year, 0, 1 + number));
    const isThere = Math.round(y) >= 0 && Math.round(y) < 7 && day.getUTCFullYear() === year;
    return isThere ? day : null;
  };
  const cellOf = (day) => {
    const table = document.querySelector(`table[data-year="${day.getUTCFullYear()}"]`);
    const month = day.toLocaleString("en", { month: "short", timeZone: "UTC" });
    const column = [...table.rows[0].cells].findIndex((cell) => cell.textContent === month);
    return table.rows[day.getUTCDate()].cells[column];
  };

  // the picture of a year leads to its table; under a mouse each square leads to its day's file
  const aim = (svg, cell) => {
    svg.parentElement.href = cell?.querySelector("a")?.href ?? `#days-${svg.dataset.year}`;
  };
  document.addEventListener("pointerout", ({ target }) => {
    const svg = target.closest?.("svg[data-year]");
    if (svg) aim(svg, null);
  });
  document.addEventListener("click", ({ target }) => {
    // not every browser opens what a link leads into
    if (target.closest?.(".years a")?.hash) document.getElementById("every-day").open = true;
  });
  document.addEventListener("pointermove", (event) => {
    const svg = event.target.closest?.("svg[data-year]");
    const day = svg && dayAt(svg, event);
    const cell = day && cellOf(day);
    if (svg && event.pointerType === "mouse") aim(svg, cell);
    const told = cell?.textContent;
    tip.hidden = !told;
    if (!told) return;
    const plain = /^[\d,]+$/.test(told) ? `${told} events` : told;
    tip.textContent = `${day.toISOString().slice(0, 10)}: ${plain}`;
    const left = Math.min(event.pageX + 12, document.documentElement.clientWidth - tip.offsetWidth);
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${event.pageY + 16}px`;
  });
  untitle();
  listen();
})();
