import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const rest = (path: string, body: unknown) => ({
  ...{ to: 'echo', path, body: JSON.stringify(body) },
})
const inline = { pushNotificationConfig: { url: 'https://collector.example/' } }
const message = { role: 'user', parts: [] }
const call = (params: unknown, beside: object = {}) => ({
  to: 'a2a',
  body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'SendMessage', params, ...beside }),
})

/** Places where another implementation of a receiver may look for a configuration. */
const copies = {
  'in a request': call({ request: { message, configuration: inline } }),
  'in parameters of parameters': call({ params: { message, configuration: inline } }),
  'next to the parameters': call({ message }, { configuration: inline }),
  'in the parameters themselves': call({ message, ...inline }),
  'in the message': call({ message: { ...message, configuration: inline } }),
  'in a part': call({ message: { ...message, parts: [{ data: inline }] } }),
  'deeper in the configuration': call({ message, configuration: { a: { b: inline } } }),
  'in a list of configurations': call({ message, configuration: [inline] }),
  'under a path for a name': call({ message, 'configuration.pushNotificationConfig.url': 'x' }),
  'in a request over plain HTTP': rest('/message:send', { request: { configuration: inline } }),
  'in any request over plain HTTP': rest('/any', [{ deep: { 'Push-Notification.url': 'x' } }]),
  'in a query': rest('/message:send?configuration.pushNotificationConfig.url=https://x', {
    message,
  }),
  'in a query, in brackets': rest(
    '/message:send?configuration[push_notification_config][url]=x',
    {},
  ),
  'in a query, encoded': rest('/any?configuration%5B%70ush%4EotificationConfig%5D=x', {}),
  'in a query, as a document': rest(
    `/any?request=${encodeURIComponent(JSON.stringify(inline))}`,
    {},
  ),
  'behind a semicolon': rest('/message:send;pushNotificationConfig.url=x', { message }),
  'in a form': {
    ...rest('/any', {}),
    body: 'configuration.pushNotificationConfig.url=x',
    contentType: 'application/x-www-form-urlencoded',
  },
}

const send = (configuration: unknown) =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'SendMessage', params: { configuration } })
const url = 'https://collector.example/'
const rpc = (method: string) => JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { url } })

attack(
  verifies(
    ['authorize:operation'],
    'an address at which the receiver would call out unseen is refused',
  ),
  {
    ...eachRefusedOnBoth('OPERATION_UNKNOWN', {
      ...copies,
      'inside a message': { to: 'a2a', body: send({ taskPushNotificationConfig: { url } }) },
      'in the older form': { to: 'a2a', body: send({ pushNotificationConfig: { url } }) },
      'in snake case': { to: 'a2a', body: send({ task_push_notification_config: { url } }) },
      'in capitals': { to: 'a2a', body: send({ PushNotificationConfig: { url } }) },
      'over plain HTTP': { to: 'echo', body: '{"configuration":{"push_notification_config":{}}}' },
      'registered by itself': { to: 'a2a', body: rpc('CreateTaskPushNotificationConfig') },
      'registered in the older form': { to: 'a2a', body: rpc('tasks/pushNotificationConfig/set') },
      'on a route with an open protocol': {
        to: 'echo',
        body: send({ pushNotificationConfig: { url } }),
      },
      'registered where the protocol is open': {
        to: 'echo',
        body: rpc('tasks/pushNotificationConfig/set'),
      },
    }),
    queue: 'the fabric cannot read sealed operations',
  },
)
