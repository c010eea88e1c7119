import { AgentError, findRefusal } from '@countersign/sdk'
import { describe, expect, test } from 'vitest'
import { ConfigError } from '../config/config.ts'
import { EXIT_CODES, exitCode } from './exit-codes.ts'
import { Failure, toFailure } from './failure.ts'

describe('every error becomes a failure with its exit code', () => {
  test('a refusal keeps its code, its exchange and the next step', () => {
    const headers = new Headers({
      'countersign-refusal': 'NOT_PERMITTED',
      'countersign-exchange': 'exc_1',
    })
    const failure = toFailure(findRefusal(403, (name) => headers.get(name)))
    expect(failure.exit).toBe('refused')
    expect(failure.message).toContain('NOT_PERMITTED')
    expect(failure.message).toContain('exc_1')
    expect(failure.next).not.toBe('')
  })

  test('a fault of this side names its next step once', () => {
    const failure = toFailure(new AgentError('FABRIC_UNREACHABLE', 'ECONNREFUSED'))
    expect(failure.exit).toBe('unreachable')
    expect(failure.message).not.toContain('Next')
    expect(failure.next).toContain('try again')
  })

  test.each([
    ['IDENTITY_DAMAGED', 'usage'],
    ['TRUST_MALFORMED', 'unreachable'],
    ['ANSWER_MALFORMED', 'unknown'],
    ['ANSWER_TOO_LARGE', 'unknown'],
  ] as const)('%s is not a fault of countersign', (code, exit) => {
    expect(toFailure(new AgentError(code)).exit).toBe(exit)
  })

  test('a receipt that does not verify is a no, not an accident', () => {
    expect(toFailure(new AgentError('RECEIPT_REJECTED')).exit).toBe('no')
  })

  test('a configuration or a file that cannot be used is a matter of usage', () => {
    expect(toFailure(new ConfigError('listen.port: too big')).exit).toBe('usage')
    const missing = Object.assign(new Error('ENOENT'), { code: 'ENOENT', path: '/x' })
    expect(toFailure(missing)).toMatchObject({ exit: 'usage', message: '/x does not exist' })
  })

  test.each([
    ['EACCES', 'usage', /^\/x may not be used/, /right/],
    ['EPERM', 'usage', /^\/x may not be used/, /right/],
    ['EISDIR', 'usage', /^\/x is a folder/, /^choose another/],
    ['ENOSPC', 'broken', /^\/x is on a full disk/, /^free/],
    ['EDQUOT', 'broken', /^\/x is on a full disk/, /^free/],
    ['EROFS', 'broken', /^\/x is on a read-only/, /writable/],
    ['EMFILE', 'broken', /^\/x could not be opened/, /ulimit/],
  ])('%s of a file has an exit code and a next step that help', (code, exit, message, next) => {
    const failure = toFailure(Object.assign(new Error(code), { code, path: '/x' }))
    expect(failure.exit).toBe(exit)
    expect(failure.message).toMatch(message)
    expect(failure.next).toMatch(next)
  })

  test.each([
    ['ENOSPC', 'the disk is full'],
    ['EDQUOT', 'the disk is full'],
    ['EROFS', 'the file system is read-only'],
    ['EMFILE', 'there are no file descriptors left'],
  ])('%s without a path is not reported as a fault of ours', (code, message) => {
    const failure = toFailure(Object.assign(new Error(code), { code }))
    expect(failure).toMatchObject({ exit: 'broken', message })
    expect(failure.next).not.toContain('report')
  })

  test('a code that names no fault of a file is internal', () => {
    for (const code of ['constructor', 'ENOENT', 'EWHATEVER']) {
      expect(toFailure(Object.assign(new Error(code), { code })).exit).toBe('internal')
    }
  })

  test('a port that is taken is named, with the way to a free one', () => {
    const taken = Object.assign(new Error('listen'), { code: 'EADDRINUSE', port: 8443 })
    const failure = toFailure(taken)
    expect(failure.message).toBe('port 8443 is in use by another process')
    expect(failure.next).toContain('--port 0')
  })

  test('an unexpected error is internal, and keeps its stack', () => {
    const failure = toFailure(new TypeError('x is not a function'))
    expect(failure.exit).toBe('internal')
    expect(failure.message).toContain('failure.test.ts')
    expect(toFailure('thrown text').exit).toBe('internal')
  })

  test('a failure stays what it is', () => {
    const failure = new Failure('no', 'it is not so')
    expect(toFailure(failure)).toBe(failure)
  })
})

test('exit codes are distinct, and zero is the only success', () => {
  const codes = EXIT_CODES.map(({ code }) => code)
  expect(new Set(codes).size).toBe(codes.length)
  expect(EXIT_CODES.filter(({ code }) => code === 0).map(({ name }) => name)).toEqual(['ok'])
  expect(exitCode('internal')).toBe(70)
})
