"use strict";

// Counts down what the page said was left when it was made. Where this does not run, the page's own words stay.
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

function inWords(seconds) {
  const words = [];
  for (const [name, size] of UNITS) {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    if (count) words.push(`${count} ${name}${count === 1 ? "" : "s"}`);
  }
  return words.length ? `in ${words.join(" ")}` : "now";
}

// A place may come, or say something new, while the page is open: what it said, and when that was.
const places = new WeakMap();
let made = 0;

function show() {
  const now = performance.now() / 1000;
  for (const place of document.querySelectorAll("[data-left]")) {
    const said = place.dataset.left;
    if (places.get(place)?.said !== said) places.set(place, { said, end: Number(said) + made });
    place.textContent = inWords(Math.max(0, Math.ceil(places.get(place).end - now)));
  }
  made = now;
}

setInterval(show, 1000);

// The stream of changes was lost, and did not come back: the session is over, or the server is away.
document.addEventListener("htmx:sse:close", (event) => {
  const note = document.getElementById("stale");
  if (note && event.detail.reason === "ended") note.hidden = false;
});
