/* What the server says over HTTP. */

const STATUS_WITHIN_MS = 2000;

/* The values that a stream's fields may have. */
export async function fetchOptions() {
  return (await fetch("api/options")).json();
}

/* The seed and the title of a piece that is named by either.
   Throws an Error that says what is wrong with the name. */
export async function fetchPiece(seed) {
  const response = await fetch(`api/stream?${new URLSearchParams({ seed })}`);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail);
  return { seed: answer.stream.seed, title: answer.title };
}

/* The server's status; null if it does not answer, and then connecting tells more. */
export async function fetchStatus() {
  try {
    return await (await fetch("api/status", { signal: AbortSignal.timeout(STATUS_WITHIN_MS) })).json();
  } catch {
    return null;
  }
}

/* Whether a server with this status accepts no listeners now. */
export const isFull = (status) => status !== null && (status.draining || status.listeners >= status.max_listeners);

/* The entry of the stream in the list of all that play; undefined if it is not there. */
export async function fetchNowPlaying(params, streamId) {
  const { streams } = await (await fetch("api/streams")).json();
  const sameParams = ({ stream }) =>
    Object.entries(params).every(([name, value]) => JSON.stringify(stream[name]) === JSON.stringify(value));
  return streams.find((entry) => (streamId ? entry.stream_id === streamId : sameParams(entry)));
}
