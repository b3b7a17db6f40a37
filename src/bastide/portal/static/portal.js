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

const places = [...document.querySelectorAll("[data-left]")];

function show() {
  const gone = Math.floor(performance.now() / 1000);
  for (const place of places) place.textContent = inWords(Math.max(0, Number(place.dataset.left) - gone));
}

if (places.length) setInterval(show, 1000);
