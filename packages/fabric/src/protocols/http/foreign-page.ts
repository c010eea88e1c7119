import type { Head } from '../reading/head.ts'

/**
 * Reports whether a browser sends this request on behalf of a page from elsewhere. Browsers present
 * a certificate on behalf of any page, so a certificate alone does not prove that its holder meant
 * this request.
 */
export function comesFromForeignPage({ headers, authority }: Head): boolean {
  const site = headers.get('sec-fetch-site')
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true
  const origin = headers.get('origin')
  return origin !== undefined && origin !== `https://${authority}`
}
