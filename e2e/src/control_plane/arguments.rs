//! Command lines of the components. Each flag that is not obvious says why it is there.

use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;

use crate::certificates::Certificates;

/// Services get addresses of this network; the first is the API server's.
const SERVICES: &str = "10.0.0.0/24";
const API_SERVICE: [u8; 4] = [10, 0, 0, 1];
const LOCAL: [u8; 4] = [127, 0, 0, 1];

pub(super) fn etcd(folder: &Path, url: &str, peer_port: u16) -> Vec<String> {
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls=http://127.0.0.1:{peer_port}"),
        // A run's data need not survive the machine.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

pub(super) fn api_server(
    certificates: &Certificates,
    folder: &Path,
    etcd: &str,
    address: IpAddr,
    port: &str,
) -> Result<Vec<String>> {
    let mut names = vec![IpAddr::from(LOCAL), IpAddr::from(API_SERVICE)];
    names.extend((!names.contains(&address)).then_some(address));
    let server = certificates.server(&names)?;
    let kubelet = certificates.issue_kubelet_client()?;
    Ok(vec![
        format!("--etcd-servers={etcd}"),
        format!("--secure-port={port}"),
        format!("--bind-address={address}"),
        format!("--advertise-address={address}"),
        format!("--service-cluster-ip-range={SERVICES}"),
        file("tls-cert-file", &server.certificate),
        file("tls-private-key-file", &server.key),
        file("client-ca-file", &certificates.ca()),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        file(
            "service-account-key-file",
            &certificates.service_account_public_key(),
        ),
        file(
            "service-account-signing-key-file",
            &certificates.service_account_key(),
        ),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged=true".into(),
        file("kubelet-client-certificate", &kubelet.certificate),
        file("kubelet-client-key", &kubelet.key),
        file("kubelet-certificate-authority", &certificates.ca()),
        "--kubelet-preferred-address-types=InternalIP".into(),
        // Loopback addresses are refused as endpoints, every ten seconds anew.
        "--endpoint-reconciler-type=none".into(),
        file("cert-dir", &folder.join("apiserver")),
    ])
}

/// What the controller-manager and the scheduler share.
pub(super) fn client_of_the_api(kubeconfig: &Path, port: u16) -> Vec<String> {
    vec![
        file("kubeconfig", kubeconfig),
        file("authentication-kubeconfig", kubeconfig),
        file("authorization-kubeconfig", kubeconfig),
        "--leader-elect=false".into(),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
    ]
}

pub(super) fn controllers(certificates: &Certificates, address: IpAddr) -> Vec<String> {
    let mut arguments = vec![
        file(
            "service-account-private-key-file",
            &certificates.service_account_key(),
        ),
        file("root-ca-file", &certificates.ca()),
        "--use-service-account-credentials".into(),
        file("cluster-signing-cert-file", &certificates.ca()),
        file("cluster-signing-key-file", &certificates.ca_key()),
    ];
    if address.is_loopback() {
        // Endpoints refuse loopback addresses, so Services have none there.
        arguments.push("--controllers=*,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller".into());
    }
    arguments
}

fn file(flag: &str, path: &Path) -> String {
    format!("--{flag}={}", path.display())
}
