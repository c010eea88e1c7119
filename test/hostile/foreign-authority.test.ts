import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

attack(verifies(['inspect:malformed'], 'a target at another authority than the host is refused'), {
  ...eachRefusedOnBoth('MESSAGE_MALFORMED', {
    'in absolute form': {
      edit: ([first = '', ...lines]) => [first.replace(' /', ' https://other.example/'), ...lines],
    },
    'in absolute form, of the same host': {
      edit: ([first = '', host = '', ...lines]) => [
        first.replace(' /', ` https://${host.slice('Host: '.length)}/`),
        host,
        ...lines,
      ],
    },
    'in authority form': {
      edit: ([first = '', ...lines]) => [first.replace(/ \/\S*/, ' other.example:443'), ...lines],
    },
    'as an asterisk': {
      edit: ([first = '', ...lines]) => [first.replace(/ \/\S*/, ' *'), ...lines],
    },
  }),
  queue: 'members come in by the gateway',
})
