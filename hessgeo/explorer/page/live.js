// With a server of this machine behind the page: the model sampled at a point between nodes.

/** The image at parameters, as an address of it in this page. */
export async function sampleAt(address, t) {
  const answer = await fetch(`${address}?a=${t[0]}&b=${t[1]}`, { cache: "no-store" });
  if (!answer.ok) throw new Error(await answer.text());
  return URL.createObjectURL(await answer.blob());
}
