import { expect, test } from 'vitest'
import { registersPush, registersPushInForm } from './push-address.ts'

test.each([
  { capabilities: { pushNotifications: true } },
  { configuration: { pushNotificationConfig: null } },
  { text: 'about pushNotificationConfig' },
  { notifications: { push: 'on' } },
  ['pushNotificationConfig'],
  'pushNotificationConfig',
  null,
  undefined,
])('%j states no address', (value) => {
  expect(registersPush(value)).toBe(false)
})

test.each([
  { pushNotificationConfig: {} },
  { a: [[{ 'PUSH-notification_url': 'x' }]] },
  { '\uff50ushNotification\u200bConfig': { url: 'x' } },
])('%j may state one', (value) => {
  expect(registersPush(value)).toBe(true)
})

test('a query that only speaks of such a thing passes', () => {
  expect(registersPushInForm('q=pushNotificationConfig&page=2')).toBe(false)
  expect(registersPushInForm('a=%7B%22push%5Cu004eotificationConfig%22:1%7D')).toBe(true)
})
