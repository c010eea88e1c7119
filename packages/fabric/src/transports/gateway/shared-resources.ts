import { hash } from 'node:crypto'

/** Bytes that every client may have, with the validator by which a client asks for them again. */
export interface Resource {
  readonly bytes: Uint8Array
  readonly etag: string
}

/** Pages and the newest tiles; what does not fit is read again. */
export const sharedBytesMax: number = 16 * 1024 * 1024

/**
 * One buffer per resource, shared by all clients: the memory of responses that are not read does
 * not grow with the number of clients. Requests that come while it is loaded share the load.
 */
export class SharedResources {
  readonly #bytesMax: number
  /** Least recently used first. */
  readonly #cached = new Map<string, Resource>()
  readonly #loading = new Map<string, Promise<Resource | null>>()
  #bytes = 0

  constructor(bytesMax: number = sharedBytesMax) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The resource, which must never change under its key; null when there is none. */
  find(key: string, load: () => Promise<Uint8Array | null>): Promise<Resource | null> {
    const cached = this.#cached.get(key)
    if (cached !== undefined) {
      this.#cached.delete(key)
      this.#cached.set(key, cached)
      return Promise.resolve(cached)
    }
    const loading = this.#loading.get(key) ?? this.#load(key, load)
    this.#loading.set(key, loading)
    return loading
  }

  async #load(key: string, load: () => Promise<Uint8Array | null>): Promise<Resource | null> {
    try {
      const bytes = await Promise.resolve().then(load)
      if (bytes === null) return null
      const resource = resourceOf(bytes)
      this.#add(key, resource)
      return resource
    } finally {
      this.#loading.delete(key)
    }
  }

  #add(key: string, resource: Resource): void {
    if (resource.bytes.length > this.#bytesMax) return
    this.#cached.set(key, resource)
    this.#bytes += resource.bytes.length
    for (const [oldest, { bytes }] of this.#cached) {
      if (this.#bytes <= this.#bytesMax) return
      this.#cached.delete(oldest)
      this.#bytes -= bytes.length
    }
  }
}

export function resourceOf(bytes: Uint8Array): Resource {
  return { bytes, etag: `"${hash('sha256', bytes, 'base64url').slice(0, 22)}"` }
}

/**
 * Reports whether `If-None-Match` (RFC 9110, section 13.1.2) names the resource that the client
 * would get.
 */
export function isKnown(asked: string | undefined, { etag }: Resource): boolean {
  if (asked === undefined) return false
  return asked.split(',').some((each) => each.trim().replace(/^W\//, '') === etag)
}
