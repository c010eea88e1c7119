import { describe, expect, test } from 'vitest'
import { PolicyChanges } from './policy-changes.ts'

const a = { name: 'a.cedar', text: 'old' }
const b = { name: 'b.cedar', text: 'old' }

describe('a change of the policies', () => {
  test('is of the exchange that put it, whoever reads the folder first', () => {
    const changes = new PolicyChanges([a, b])
    changes.expect('a.cedar', { text: 'new', exchange: 'dec_1' })
    expect(changes.take([{ ...a, text: 'new' }, b])).toEqual({
      files: ['a.cedar'],
      changedBy: ['dec_1'],
    })
  })

  test('is of the files when nobody put it, or when another text took force', () => {
    const changes = new PolicyChanges([a, b])
    expect(changes.take([a]).changedBy).toEqual(['files'])
    changes.expect('a.cedar', { text: 'new', exchange: 'dec_1' })
    expect(changes.take([{ ...a, text: 'edited' }]).changedBy).toEqual(['files'])
    // The put is over: the same text written later is not its doing.
    expect(changes.take([{ ...a, text: 'new' }]).changedBy).toEqual(['files'])
  })

  test('names both when one reading finds both', () => {
    const changes = new PolicyChanges([a, b])
    changes.expect('a.cedar', { text: 'new', exchange: 'dec_1' })
    const after = [
      { ...a, text: 'new' },
      { ...b, text: 'new' },
    ]
    expect(changes.take(after)).toEqual({
      files: ['a.cedar', 'b.cedar'],
      changedBy: ['dec_1', 'files'],
    })
  })

  test('of a put that changed nothing leaves nothing for later', () => {
    const changes = new PolicyChanges([a])
    changes.expect('a.cedar', { text: 'old', exchange: 'dec_1' })
    changes.settle('a.cedar')
    changes.take([{ ...a, text: 'edited' }])
    expect(changes.take([a]).changedBy).toEqual(['files'])
  })

  test('puts run one after the other, also behind one that failed', async () => {
    const changes = new PolicyChanges([])
    const order: string[] = []
    const first = changes.inTurn(async () => {
      await new Promise((resolve) => setImmediate(resolve))
      order.push('first')
      throw new Error('not taken')
    })
    const second = changes.inTurn(() => Promise.resolve(order.push('second')))
    await expect(first).rejects.toThrow('not taken')
    await second
    expect(order).toEqual(['first', 'second'])
  })
})
