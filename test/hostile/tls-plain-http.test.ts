import { get } from 'node:http'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { forge } from './tls-forge.ts'
import { type Lab, openLab } from './tls-lab.ts'

let lab: Lab
beforeEach(async () => {
  lab = await openLab()
})
afterEach(() => lab.close())

test('plain HTTP to a TLS port gets no answer, and the port serves on', async () => {
  const answer = await new Promise<string>((resolve) => {
    get({ host: '127.0.0.1', port: lab.port, path: '/' }, (response) => {
      resolve(`status ${response.statusCode}`)
    }).on('error', () => resolve('no answer'))
  })
  expect(answer).toBe('no answer')
  const credential = forge({ issuer: lab.intermediate })
  expect(await lab.attempt({ credential })).toMatchObject({ accepted: true })
})
