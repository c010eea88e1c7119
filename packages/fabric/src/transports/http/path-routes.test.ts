import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PathRoutes } from './path-routes.ts'

const routes = new PathRoutes([
  ['GET|HEAD /', 'home'],
  ['* /agents/:agent/**', 'agent'],
  ['* /agents', 'agents'],
  ['POST /v1/channels/:channel/messages', 'publish'],
  ['GET /v1/channels/:channel', 'describe'],
  ['* /v1/channels/**', 'no channel'],
])

const found = (method: string, path: string) => {
  const match = routes.find(method, path)
  return match === null ? null : [match.handler, { ...match.segments }, match.rest]
}

describe('a request is routed', () => {
  test('by method and path, the first match first', () => {
    expect(found('POST', '/v1/channels/a/messages')).toEqual(['publish', { channel: 'a' }, ''])
    expect(found('GET', '/v1/channels/a')).toEqual(['describe', { channel: 'a' }, ''])
    expect(found('GET', '/v1/channels/a/messages')).toEqual(['no channel', {}, '/a/messages'])
    expect(found('POST', '/v1/channels')).toEqual(['no channel', {}, ''])
    expect(found('HEAD', '/')).toEqual(['home', {}, ''])
  })

  test('with the rest of the path from its slash on', () => {
    expect(found('PUT', '/agents/a/b//c/')).toEqual(['agent', { agent: 'a' }, '/b//c/'])
    expect(found('PUT', '/agents/a/')).toEqual(['agent', { agent: 'a' }, '/'])
    expect(found('PUT', '/agents/a')).toEqual(['agent', { agent: 'a' }, ''])
    expect(found('PUT', '/agents/')).toEqual(['agent', { agent: '' }, ''])
    expect(found('PUT', '/agents')).toEqual(['agents', {}, ''])
  })

  test('to nothing by another spelling, of the path or of the method', () => {
    for (const path of [
      ...['', '*', 'agents', '//agents', '/Agents/a', '/agents%2Fa', '/%61gents/a', '/agentsa'],
      ...['/./agents/a', '/v1', '/v1/', '/v1/channelsa', '/v1//channels/a', '/agents\\a', '//'],
      ...['/?x', 'https://a.example/agents/a', '/agents;a/b'],
    ]) {
      expect(found('GET', path), path).toBeNull()
    }
    expect(found('post', '/')).toBeNull()
    expect(found('GET|HEAD', '/')).toBeNull()
    expect(found('*', '/')).toBeNull()
  })

  test('with its segments as they were sent, whatever they spell', () => {
    const segment = fc
      .string({ unit: fc.constantFrom('%', '2', 'F', 'f', '.', ';', ':', '*', 'a', '\\') })
      .filter((text) => text !== '')
    fc.assert(
      fc.property(segment, segment, (agent, below) => {
        const path = `/agents/${agent}/${below}`
        expect(found('GET', path)).toEqual(['agent', { agent }, `/${below}`])
      }),
    )
  })

  test('with no segment but those that it names', () => {
    const match = routes.find('GET', '/agents/constructor/x')
    expect(Object.keys(match?.segments ?? {})).toEqual(['agent'])
    expect(match?.segments['agent']).toBe('constructor')
  })
})
