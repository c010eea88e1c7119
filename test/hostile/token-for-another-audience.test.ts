import { attack, inOwnWorld } from '../harness/attack.ts'
import { refusedOnQueue } from '../harness/channels.ts'
import { refused } from '../harness/refusals.ts'
import { tokenFor } from '../harness/tokens.ts'
import { verifies } from '../requirements.ts'

attack(verifies(['authenticate:token'], 'a token of another fabric is refused'), {
  // Issuer, audience and key are all another's, while trust domain and agent have the same names.
  gateway: async (world) =>
    inOwnWorld({ receivers: [] }, async (other) => {
      const token = await tokenFor(other.caller)
      await refused('gateway', 'CREDENTIAL_REJECTED', () => ({
        as: null,
        headers: [['Authorization', `Bearer ${token}`]],
      }))(world)
    }),
  mesh: 'the mesh knows callers by certificate only',
  queue: async (world) =>
    inOwnWorld({ receivers: [] }, async (other) => {
      const token = await tokenFor(other.caller)
      await refusedOnQueue('CREDENTIAL_REJECTED', () => ({
        as: null,
        headers: [['Authorization', `Bearer ${token}`]],
      }))(world)
    }),
})
