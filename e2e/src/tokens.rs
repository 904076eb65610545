//! ServiceAccount tokens made with the API server's own key: expired ones, for another audience, of
//! pods that do not exist. The API server itself would not make them, a thief or a liar might.
//!
//! A token is a JWT (RFC 7519) with an ES256 signature (RFC 7518, 3.4).

use std::path::Path;

use anyhow::{Context, Result};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::KeyPair;
use serde_json::{Value, json};

/// Signs tokens.
pub struct TokenMint {
    key: EcdsaKeyPair,
}

impl std::fmt::Debug for TokenMint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenMint").finish_non_exhaustive()
    }
}

impl TokenMint {
    /// One with the key in that file (PEM).
    pub(crate) fn open(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        Self::with(&KeyPair::from_pem(&text)?)
    }

    /// One with a key that no API server trusts.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn stranger() -> Result<Self> {
        Self::with(&KeyPair::generate()?)
    }

    fn with(key: &KeyPair) -> Result<Self> {
        let pkcs8 = key.serialize_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8)
            .context("the key is not of P-256")?;
        Ok(Self { key })
    }

    /// A token with these claims.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        let header = json!({"alg": "ES256", "typ": "JWT"});
        let signed = format!("{}.{}", part(&header)?, part(claims)?);
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .context("cannot sign")?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The claims of a token, its signature not looked at: a start for one that differs a little.
///
/// # Errors
/// When it is no JWT.
pub fn claims_of(token: &str) -> Result<Value> {
    let middle = token.split('.').nth(1).context("a JWT has three parts")?;
    Ok(serde_json::from_slice(
        &URL_SAFE_NO_PAD.decode(middle.trim())?,
    )?)
}

fn part(value: &Value) -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(value)?))
}
