import { expect, test } from 'vitest'
import { agentRecord } from '../../../../test/contracts/directory.ts'
import { claimedBy, withRecord } from './claims.ts'

const terms = {
  roles: [
    { claim: ['groups'], value: 'pay', role: 'payer' },
    { claim: ['realm', 'roles'], value: 'audit', role: 'auditor' },
  ],
  segments: [{ claim: ['site'], value: 'eu', segment: 'europe' }],
  attributes: [{ name: 'team', claim: ['department'], values: ['a', 'b'] }],
}
const nothing = { roles: [], segment: '', attributes: {} }

test('claims give what the mapping names, and nothing else', () => {
  const claims = { groups: ['pay', 'operator'], realm: { roles: 'audit' }, site: 'eu' }
  expect(claimedBy({ ...claims, department: 'b' }, terms)).toEqual({
    ...{ roles: ['payer', 'auditor'], segment: 'europe', attributes: { team: 'b' } },
  })
  for (const other of [
    { roles: ['payer'], segment: 'europe', team: 'a' },
    { groups: 'pay ', realm: ['audit'], site: ['asia'], department: 'c' },
    { groups: { 0: 'pay' }, realm: null, department: ['a', 'b'] },
    { groups: [['pay']], realm: { __proto__: { roles: 'audit' } }, department: 1 },
  ]) {
    expect(claimedBy(other, terms), JSON.stringify(other)).toEqual(nothing)
  }
})

test('a record adds its roles, and its facts come first', () => {
  const claimed = { roles: ['payer'], segment: 'europe', attributes: { team: 'a', site: 'x' } }
  expect(withRecord(claimed, null)).toEqual(claimed)
  expect(
    withRecord(claimed, agentRecord('x', { roles: [], segment: '', attributes: {} })),
  ).toMatchObject(claimed)
  const record = agentRecord('x', {
    ...{ roles: ['auditor', 'payer'], segment: 'asia', attributes: { team: 'b' } },
  })
  expect(withRecord(claimed, record)).toEqual({
    ...{ roles: ['payer', 'auditor'], segment: 'asia', attributes: { team: 'b', site: 'x' } },
  })
})
