// What an application written with oauth4webapi does, one case a run: node oauth4webapi.mjs CASE
import assert from 'node:assert/strict'
import { importJWK } from 'jose'
import * as oauth from 'oauth4webapi'

const issuer = new URL(process.env.ISSUER)
const insecure = { [oauth.allowInsecureRequests]: true }

async function discover(algorithm) {
  const response = await oauth.discoveryRequest(issuer, { algorithm, ...insecure })
  return oauth.processDiscoveryResponse(issuer, response)
}

async function credentials(as, client, auth, parameters = {}, options = {}) {
  const response = await oauth.clientCredentialsGrantRequest(as, client, auth, parameters, { ...insecure, ...options })
  return oauth.processClientCredentialsResponse(as, client, response)
}

const secretOf = (id) => oauth.ClientSecretPost(`${id}-secret-0123456789`)

const cases = {
  async both_documents() {
    assert.deepEqual(await discover('oidc'), await discover('oauth2'))
    const response = await oauth.resourceDiscoveryRequest(issuer, insecure)
    const resource = await oauth.processResourceDiscoveryResponse(issuer, response)
    assert.deepEqual(resource.authorization_servers, [process.env.ISSUER])
  },

  async client_secret_basic() {
    const as = await discover('oauth2')
    const auth = oauth.ClientSecretBasic('basic-secret-0123456789')
    assert.equal((await credentials(as, { client_id: 'basic' }, auth, { scope: 'a' })).scope, 'a')
  },

  async client_secret_post() {
    const as = await discover('oauth2')
    assert.ok((await credentials(as, { client_id: 'post' }, secretOf('post'))).access_token)
  },

  async private_key_jwt() {
    const as = await discover('oauth2')
    const jwk = JSON.parse(process.env.PRIVATE_JWK)
    const auth = oauth.PrivateKeyJwt({ key: await importJWK(jwk, 'ES256'), kid: jwk.kid })
    assert.ok((await credentials(as, { client_id: 'signed' }, auth)).access_token)
  },

  async dpop_with_nonce() {
    const as = await discover('oauth2')
    const client = { client_id: 'nonce' }
    const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
    const ask = () => credentials(as, client, secretOf('nonce'), { scope: 'permissions:check' }, { DPoP })
    await assert.rejects(ask(), (error) => oauth.isDPoPNonceError(error))
    const tokens = await ask()
    assert.equal(tokens.token_type, 'dpop')
    const url = new URL('/v1/permissions/check', issuer)
    const headers = new Headers({ 'content-type': 'application/json' })
    const options = { DPoP, ...insecure }
    const answer = await oauth.protectedResourceRequest(tokens.access_token, 'POST', url, headers, '{}', options)
    assert.equal(answer.status, 400, await answer.text())
    const stolen = { DPoP: oauth.DPoP(client, await oauth.generateKeyPair('ES256')), ...insecure }
    const theft = oauth.protectedResourceRequest(tokens.access_token, 'POST', url, headers, '{}', stolen)
    await assert.rejects(theft, (error) => error.cause?.[0]?.parameters?.error === 'invalid_token')
    const plain = await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${tokens.access_token}` } })
    assert.equal(plain.status, 401)
  },

  async refresh() {
    const as = await discover('oauth2')
    const client = { client_id: 'family' }
    const auth = secretOf('family')
    const response = await oauth.refreshTokenGrantRequest(as, client, auth, process.env.REFRESH_TOKEN, insecure)
    const first = await oauth.processRefreshTokenResponse(as, client, response)
    assert.notEqual(first.refresh_token, process.env.REFRESH_TOKEN)
    const claims = await oauth.validateJwtAccessToken(
      as,
      new Request(issuer, { headers: { authorization: `Bearer ${first.access_token}` } }),
      process.env.ISSUER,
      insecure,
    )
    assert.equal(claims.client_id, 'family')
  },

  async introspection() {
    const as = await discover('oauth2')
    const client = { client_id: 'opaque' }
    const auth = secretOf('opaque')
    const { access_token } = await credentials(as, client, auth)
    const look = async (token) =>
      oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, auth, token, insecure))
    assert.equal((await look(access_token)).active, true)
    const response = await oauth.revocationRequest(as, client, auth, access_token, insecure)
    await oauth.processRevocationResponse(response)
    assert.deepEqual(await look(access_token), { active: false })
  },
}

await cases[process.argv[2]]()
