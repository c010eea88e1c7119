/**
 * Finds every occurrence of every keyword in one pass (Aho and Corasick, 1975).
 *
 * The automaton is one dense table over byte classes, so that a byte costs two array reads whatever
 * the text is. States that end a keyword have the highest numbers: one comparison distinguishes
 * them.
 */
export interface KeywordMatcher {
  readonly next: Int32Array
  readonly classes: Uint8Array
  /** States from here on end at least one keyword. */
  readonly outputsFrom: number
  /** The keywords that end in a state, by `(state - outputsFrom) / width`. */
  readonly outputs: readonly (readonly number[])[]
  readonly width: number
}

interface Node {
  readonly children: Map<number, Node>
  readonly ends: number[]
  fail: Node | null
  id: number
}

export function createKeywordMatcher(
  keywords: readonly string[],
  options: { readonly caseSensitive: boolean } = { caseSensitive: true },
): KeywordMatcher {
  const root = buildTrie(keywords)
  const nodes = linkFailures(root)
  const classes = new Uint8Array(256)
  let classCount = 1
  for (const keyword of keywords) {
    for (let i = 0; i < keyword.length; i++) {
      const code = keyword.charCodeAt(i)
      if (classes[code] !== 0) continue
      classes[code] = classCount
      if (!options.caseSensitive && code >= 0x61 && code <= 0x7a) classes[code - 32] = classCount
      classCount++
    }
  }
  const width = 2 ** Math.ceil(Math.log2(classCount))
  const quiet = nodes.filter((node) => node.ends.length === 0)
  const loud = nodes.filter((node) => node.ends.length > 0)
  const ordered = [...quiet, ...loud]
  ordered.forEach((node, index) => {
    node.id = index * width
  })
  const next = fillTable(nodes, { classes, width })
  return {
    next,
    classes,
    outputsFrom: quiet.length * width,
    outputs: loud.map((node) => node.ends),
    width,
  }
}

function buildTrie(keywords: readonly string[]): Node {
  const root: Node = { children: new Map(), ends: [], fail: null, id: 0 }
  keywords.forEach((keyword, index) => {
    let node = root
    for (let i = 0; i < keyword.length; i++) {
      const code = keyword.charCodeAt(i)
      let child = node.children.get(code)
      if (child === undefined) {
        child = { children: new Map(), ends: [], fail: null, id: 0 }
        node.children.set(code, child)
      }
      node = child
    }
    node.ends.push(index)
  })
  return root
}

/** Breadth first, so that a node's failure link is finished before its children need it. */
function linkFailures(root: Node): Node[] {
  const nodes: Node[] = [root]
  for (const node of nodes) {
    for (const [code, child] of node.children) {
      let fail = node.fail
      while (fail !== null && !fail.children.has(code)) fail = fail.fail
      child.fail = fail?.children.get(code) ?? root
      child.ends.push(...child.fail.ends)
      nodes.push(child)
    }
  }
  return nodes
}

function fillTable(
  nodes: readonly Node[],
  shape: { classes: Uint8Array; width: number },
): Int32Array {
  const next = new Int32Array(nodes.length * shape.width)
  for (const node of nodes) {
    const base = node.fail === null ? -1 : node.fail.id
    for (let c = 0; c < shape.width; c++) next[node.id + c] = base < 0 ? 0 : (next[base + c] ?? 0)
    for (const [code, child] of node.children) next[node.id + (shape.classes[code] ?? 0)] = child.id
  }
  return next
}
