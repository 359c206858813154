// What an application written with openid-client does, one case a run: node openid_client.mjs CASE
// Settings come in the environment: ISSUER, and for some cases REFRESH_TOKEN and PRIVATE_JWK.
import assert from 'node:assert/strict'
import { importJWK } from 'jose'
import * as client from 'openid-client'

const issuer = new URL(process.env.ISSUER)
const insecure = { execute: [client.allowInsecureRequests] }

const discover = (id, metadata, auth) => client.discovery(issuer, id, metadata, auth, insecure)
const withSecret = (id) => discover(id, `${id}-secret-0123456789`)

async function privateKey() {
  const jwk = JSON.parse(process.env.PRIVATE_JWK)
  return { key: await importJWK(jwk, 'ES256'), kid: jwk.kid }
}

const cases = {
  async client_secret_basic() {
    const config = await discover('basic', undefined, client.ClientSecretBasic('basic-secret-0123456789'))
    const tokens = await client.clientCredentialsGrant(config, { scope: 'a' })
    assert.equal(tokens.scope, 'a')
    assert.equal(tokens.token_type, 'bearer')
    assert.equal(tokens.expires_in, 600)
  },

  async client_secret_post() {
    const config = await discover('post', undefined, client.ClientSecretPost('post-secret-0123456789'))
    assert.ok((await client.clientCredentialsGrant(config, {})).access_token)
  },

  async private_key_jwt() {
    const config = await discover('signed', undefined, client.PrivateKeyJwt(await privateKey()))
    for (let again = 0; again < 3; again++) {
      assert.ok((await client.clientCredentialsGrant(config, {})).access_token)
    }
  },

  async wrong_secret() {
    const config = await discover('basic', undefined, client.ClientSecretBasic('wrong-secret'))
    const refused = client.clientCredentialsGrant(config, {})
    await assert.rejects(refused, (error) => error.status === 401 && error.cause[0].scheme === 'basic')
  },

  async resource() {
    const config = await withSecret('post')
    const tokens = await client.clientCredentialsGrant(config, { resource: 'https://files.example' })
    const claims = JSON.parse(Buffer.from(tokens.access_token.split('.')[1], 'base64url'))
    assert.equal(claims.aud, 'https://files.example')
    const other = client.clientCredentialsGrant(config, { resource: 'https://other.example' })
    await assert.rejects(other, (error) => error.error === 'invalid_target')
  },

  async dpop_with_nonce() {
    const config = await withSecret('nonce')
    const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'))
    for (let again = 0; again < 2; again++) {
      const tokens = await client.clientCredentialsGrant(config, { scope: 'permissions:check' }, { DPoP })
      assert.equal(tokens.token_type, 'dpop')
      const url = new URL('/v1/permissions/check', issuer)
      const headers = new Headers({ 'content-type': 'application/json' })
      const answer = await client.fetchProtectedResource(
        config, tokens.access_token, url, 'POST', '{}', headers, { DPoP },
      )
      assert.equal(answer.status, 400, await answer.text()) // let in; the empty request is refused afterwards
    }
  },

  async key_bound() {
    const config = await discover('bot', undefined, client.None())
    const { key } = await privateKey()
    const jwk = JSON.parse(process.env.PRIVATE_JWK)
    const { d, kid, ...publicJwk } = jwk
    const subtle = { name: 'ECDSA', namedCurve: 'P-256' }
    const pair = {
      privateKey: await crypto.subtle.importKey('jwk', { ...jwk, kid: undefined }, subtle, false, ['sign']),
      publicKey: await crypto.subtle.importKey('jwk', publicJwk, subtle, true, ['verify']),
    }
    assert.ok(key)
    const DPoP = client.getDPoPHandle(config, pair)
    assert.equal((await client.clientCredentialsGrant(config, {}, { DPoP })).token_type, 'dpop')
    const another = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'))
    const refused = client.clientCredentialsGrant(config, {}, { DPoP: another })
    await assert.rejects(refused, (error) => error.error === 'invalid_client')
  },

  async refresh() {
    const config = await withSecret('family')
    const first = await client.refreshTokenGrant(config, process.env.REFRESH_TOKEN)
    assert.notEqual(first.refresh_token, process.env.REFRESH_TOKEN)
    const second = await client.refreshTokenGrant(config, first.refresh_token, { scope: 'a' })
    assert.equal(second.scope, 'a')
    const wider = client.refreshTokenGrant(config, second.refresh_token, { scope: 'admin' })
    await assert.rejects(wider, (error) => error.error === 'invalid_scope')
  },

  async introspection() {
    const config = await withSecret('opaque')
    const { access_token } = await client.clientCredentialsGrant(config, { scope: 'a b' })
    const found = await client.tokenIntrospection(config, access_token)
    assert.equal(found.active, true)
    assert.equal(found.scope, 'a b')
    assert.deepEqual(await client.tokenIntrospection(config, 'rubbish'), { active: false })
  },

  async revocation() {
    for (const id of ['opaque', 'post']) {
      const config = await withSecret(id)
      const { access_token } = await client.clientCredentialsGrant(config, {})
      await client.tokenRevocation(config, access_token)
      assert.deepEqual(await client.tokenIntrospection(config, access_token), { active: false })
      await client.tokenRevocation(config, access_token)
    }
  },
}

await cases[process.argv[2]]()
