/** Meaning of the codes of the system and of OpenSSL to the person who set the address. */
const words: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens at that address',
  ECONNRESET: 'the other side closed the connection',
  EPIPE: 'the other side closed the connection',
  ENOTFOUND: 'the host name is not known',
  EAI_AGAIN: 'the host name could not be resolved',
  ENETUNREACH: 'there is no route to that address',
  EHOSTUNREACH: 'there is no route to that address',
  EADDRNOTAVAIL: 'that address cannot be used on this machine',
  EADDRINUSE: 'another process listens at that address',
  EACCES: 'this user may not listen at that address',
  ETIMEDOUT: 'no answer came in time',
  EPROTO: 'the address does not speak https',
  ERR_SSL_WRONG_VERSION_NUMBER: 'the address does not speak https',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'the address does not speak https',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'the address does not speak TLS 1.3',
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: 'the address does not speak TLS 1.3',
  CERT_HAS_EXPIRED: 'its certificate has expired, or the clock of this machine is wrong',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet, or the clock of this machine is wrong',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
}

/** The cause of a failed connection in words, with the code that a search finds. */
export function describeNetworkFault(error: Error): string {
  const code = 'code' in error ? String(error.code) : ''
  if (code === '') return error.message
  return Object.hasOwn(words, code) ? `${words[code]}, ${code}` : code
}
