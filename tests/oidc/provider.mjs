// A certified OpenID provider (npm's oidc-provider) for the tests: one client, and accounts by whatever name signs in.
// Arguments: port, the client's redirect address. Says "ready" once it listens.
import Provider from "oidc-provider";

const [port, redirect] = process.argv.slice(2);

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: "chorale",
      client_secret: "a secret & of + the client%",
      redirect_uris: [redirect],
      response_types: ["code"],
      grant_types: ["authorization_code"],
      token_endpoint_auth_method: "client_secret_basic",
    },
  ],
  pkce: { required: () => true },
  claims: { openid: ["sub"], email: ["email", "email_verified"] },
  conformIdTokenClaims: process.env.TEST_USERINFO === "1",
  cookies: { keys: ["for the tests alone"] },
  async findAccount(ctx, id) {
    return {
      accountId: id,
      async claims() {
        return { sub: id, email: `${id.replace("unverified-", "")}@aster.example`, email_verified: !id.startsWith("unverified-") };
      },
    };
  },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
