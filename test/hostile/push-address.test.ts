import { lie } from '../harness/lie.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const send = (configuration: unknown) =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'SendMessage', params: { configuration } })
const url = 'https://collector.example/'
const rpc = (method: string) => JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { url } })

lie(
  verifies(
    ['authorize:operation'],
    'an address at which the receiver would call out unseen is refused',
  ),
  {
    ...eachRefusedOnBoth('OPERATION_UNKNOWN', {
      'inside a message': { to: 'a2a', body: send({ taskPushNotificationConfig: { url } }) },
      'in the older form': { to: 'a2a', body: send({ pushNotificationConfig: { url } }) },
      'in snake case': { to: 'a2a', body: send({ task_push_notification_config: { url } }) },
      'in capitals': { to: 'a2a', body: send({ PushNotificationConfig: { url } }) },
      'over plain HTTP': { to: 'echo', body: '{"configuration":{"push_notification_config":{}}}' },
      'registered by itself': { to: 'a2a', body: rpc('CreateTaskPushNotificationConfig') },
      'registered in the older form': { to: 'a2a', body: rpc('tasks/pushNotificationConfig/set') },
      'where the protocol is open': { to: 'echo', body: send({ pushNotificationConfig: { url } }) },
      'registered where the protocol is open': {
        to: 'echo',
        body: rpc('tasks/pushNotificationConfig/set'),
      },
    }),
    queue: 'the fabric cannot read sealed operations',
  },
)
