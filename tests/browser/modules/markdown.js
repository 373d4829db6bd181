// Makes documents of pieces at random, streams each in random cuts, and compares with a single reading.
async ({ pieces, seeds }) => {
  const { MarkdownStream, showOnce } = await import("/static/core/markdown.js");
  const wrong = [];
  for (const seed of seeds) {
    let state = seed * 2654435761 >>> 0;
    const dice = (below) => { // A small generator, so that a seed that failed fails again.
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor(state / 4294967296 * below);
    };
    let text = "";
    for (let n = 1 + dice(9); n > 0; n--) text += pieces[dice(pieces.length)] + ["\n\n", "\n", " ", "\n\n\n"][dice(4)];
    const whole = document.createElement("div"), streamed = document.createElement("div");
    showOnce(whole, text);
    const stream = new MarkdownStream(streamed);
    for (let end = 0; end < text.length;) {
      end = Math.min(text.length, end + 1 + dice(12));
      stream.show(text.slice(0, end), false);
    }
    stream.show(text, true);
    if (streamed.innerHTML !== whole.innerHTML) wrong.push({ seed, text, streamed: streamed.innerHTML, whole: whole.innerHTML });
  }
  return wrong.slice(0, 3);
}
