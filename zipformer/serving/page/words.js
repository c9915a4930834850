// Words that were heard against words that were said.

// Characters of scripts that are written without blanks, as zipformer/tokens/scripts.py has them.
const UNSPACED = /[\u2e80-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff01-\uff60\u{20000}-\u{3ffff}]/gu;

// What is counted: words, and such characters one by one.
export function split(text) {
  return text.normalize("NFKC").replace(UNSPACED, " $& ").split(/\s+/).filter(Boolean);
}

// Errors of `heard` against `said`. While words are still to come it is compared with that beginning
// of `said` which fits best, the longest one of several.
export function score(said, heard, complete) {
  let row = said.map((_, i) => i + 1);
  row.unshift(0);
  for (const [i, word] of heard.entries()) {
    const next = [i + 1];
    for (const [j, wanted] of said.entries()) {
      next.push(Math.min(row[j] + (wanted === word ? 0 : 1), row[j + 1] + 1, next[j] + 1));
    }
    row = next;
  }
  let end = said.length;
  if (!complete) {
    const fewest = Math.min(...row);
    end = row.lastIndexOf(fewest);
  }
  return { errors: row[end], words: end };
}

export function percent({ errors, words }) {
  if (!words) return errors ? `${errors} words where none were said` : "–";
  return `${((100 * errors) / words).toFixed(1)} % (${errors} of ${words})`;
}
