import { afterWhiteSpace } from './json-white-space.ts'

/** How a body of some media type is read, or null for one that cannot be inspected. */
export type Reading = 'json' | 'text' | 'form'

/**
 * RFC 9110, section 8.3.1. Only UTF-8 (and ASCII, which it contains) can be inspected: in another
 * charset the receiver would read other characters than the detectors did. Events of a stream are
 * handed over one by one by whoever reads the stream, as the media type of their data.
 */
export function readingOf(contentType: string): Reading | null {
  const [essence = '', ...parameters] = contentType.split(';')
  for (const parameter of parameters) {
    const [name = '', value = ''] = parameter.split('=')
    if (name.trim().toLowerCase() !== 'charset') continue
    const charset = value.trim().replaceAll('"', '').toLowerCase()
    if (charset !== 'utf-8' && charset !== 'utf8' && charset !== 'us-ascii') return null
  }
  const type = essence.trim().toLowerCase()
  if (type === 'application/json' || type === 'text/json') return 'json'
  if (type === 'application/x-www-form-urlencoded') return 'form'
  if (type === 'text/event-stream') return null
  if (/^(?:application|text)\/[a-z0-9.!#$&^_-]{1,100}\+json$/.test(type)) return 'json'
  return /^text\/[a-z0-9.!#$&^_+-]{1,100}$/.test(type) ? 'text' : null
}

/**
 * A body without a media type is whatever its receiver takes it for (RFC 9110, section 8.3): what
 * starts like JSON could be parsed as JSON and so has to be; anything else is inspected as text.
 */
export function readingOfUntyped(body: Uint8Array): Reading {
  const first = body[afterWhiteSpace(body, 0, body.length)]
  return first === 0x7b || first === 0x5b ? 'json' : 'text'
}
