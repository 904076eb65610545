//! What a control plane must do for the stories that are played on it.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};
use slotmesh_e2e::control_plane::ControlPlane;
use slotmesh_e2e::tokens::{TokenMint, claims_of};
use slotmesh_e2e::wait;

use crate::{DEADLINE, controllers_fill};

/// Every component does its part, at the pinned version.
pub async fn components(plane: &ControlPlane) -> Result<()> {
    let version: Value = serde_json::from_str(&plane.kubectl(&["version", "-o", "json"]).await?)?;
    for side in ["clientVersion", "serverVersion"] {
        let told = version[side]["gitVersion"].as_str().unwrap_or_default();
        ensure!(told.starts_with("v1.35."), "{side} is {told}");
    }
    controllers_fill(plane, "filled").await?;

    // Without nodes the scheduler has but one thing to say.
    let pods: Api<Pod> = Api::namespaced(plane.client(), "filled");
    let pod = serde_json::from_value(json!({
        "metadata": {"name": "waiting"},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    }))?;
    pods.create(&PostParams::default(), &pod).await?;
    wait::until("the scheduler to look at a pod", DEADLINE, async || {
        let status = pods.get("waiting").await?.status.unwrap_or_default();
        Ok(status
            .conditions
            .unwrap_or_default()
            .into_iter()
            .find(|condition| condition.reason.as_deref() == Some("Unschedulable")))
    })
    .await
    .map(drop)
}

/// A node's certificate is a node's, and no more.
pub async fn node_credentials(plane: &ControlPlane) -> Result<()> {
    let client = plane.node_client("alpha").await?;
    let user = client
        .request::<Value>(self_review()?)
        .await
        .context("who am I")?;
    let user = &user["status"]["userInfo"];
    ensure!(user["username"] == "system:node:alpha", "{user}");
    let groups = user["groups"].as_array().context("no groups")?;
    ensure!(groups.contains(&json!("system:nodes")), "{user}");

    let node = |name: &str| serde_json::from_value(json!({"metadata": {"name": name}}));
    let nodes = Api::<k8s_openapi::api::core::v1::Node>::all(client.clone());
    nodes
        .create(&PostParams::default(), &node("alpha")?)
        .await?;
    let other = nodes.create(&PostParams::default(), &node("beta")?).await;
    ensure!(is_forbidden(&other), "a node made another: {other:?}");
    let secrets = Api::<Secret>::all(client)
        .list(&ListParams::default())
        .await;
    ensure!(is_forbidden(&secrets), "a node lists Secrets: {secrets:?}");
    Ok(())
}

fn self_review() -> Result<hyper::Request<Vec<u8>>> {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    Ok(hyper::Request::post(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&review)?)?)
}

fn is_forbidden<T>(result: &kube::Result<T>) -> bool {
    matches!(result, Err(kube::Error::Api(status)) if status.code == 403)
}

/// The mint's tokens are taken exactly when the API server's own would be.
pub async fn tokens(plane: &ControlPlane) -> Result<()> {
    let real = plane
        .kubectl(&["create", "token", "default", "--audience", "mesh"])
        .await?;
    ensure!(
        is_authentic(plane, real.trim(), "mesh").await?,
        "a real token is refused"
    );
    ensure!(
        !is_authentic(plane, real.trim(), "other").await?,
        "wrong audience is taken"
    );

    let mint = plane.token_mint()?;
    let claims = claims_of(&real)?;
    let now = claims["iat"].as_i64().context("no iat")?;
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims.clone();
        change(&mut claims);
        claims
    };
    let cases: [(&str, &TokenMint, Value, bool); 5] = [
        ("the same claims", &mint, claims.clone(), true),
        (
            "another life",
            &mint,
            changed(&|c| c["exp"] = json!(now + 60)),
            true,
        ),
        (
            "expired",
            &mint,
            changed(&|c| {
                c["iat"] = json!(now - 7200);
                c["nbf"] = json!(now - 7200);
                c["exp"] = json!(now - 3600);
            }),
            false,
        ),
        (
            "another issuer",
            &mint,
            changed(&|c| c["iss"] = json!("https://elsewhere")),
            false,
        ),
        (
            "a stranger's key",
            &TokenMint::stranger()?,
            claims.clone(),
            false,
        ),
    ];
    for (what, mint, claims, expected) in cases {
        let taken = is_authentic(plane, &mint.sign(&claims)?, "mesh").await?;
        ensure!(taken == expected, "{what}: authenticated = {taken}");
    }
    Ok(())
}

async fn is_authentic(plane: &ControlPlane, token: &str, audience: &str) -> Result<bool> {
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: Some(vec![audience.to_owned()]),
        },
        ..TokenReview::default()
    };
    let reviews: Api<TokenReview> = Api::all(plane.client());
    let review = reviews.create(&PostParams::default(), &review).await?;
    Ok(review.status.and_then(|status| status.authenticated) == Some(true))
}

/// kubectl and helm work, read what they are given, and fail with what they said.
pub async fn tools(plane: &ControlPlane) -> Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "given"}});
    plane
        .kubectl_with_input(&["apply", "-f", "-"], &object.to_string())
        .await?;
    let found = plane
        .kubectl(&["get", "configmap", "given", "-o", "name"])
        .await?;
    ensure!(found.trim() == "configmap/given", "{found}");
    let releases = plane
        .helm(&["list", "--all-namespaces", "-o", "json"])
        .await?;
    ensure!(releases.trim() == "[]", "{releases}");

    let failed = plane.kubectl(&["get", "configmap", "missing"]).await;
    let error = format!("{:#}", failed.err().context("a missing object was found")?);
    for part in [
        "kubectl get configmap missing",
        "NotFound",
        "kube-apiserver.log",
    ] {
        ensure!(error.contains(part), "no {part:?} in: {error}");
    }
    Ok(())
}
