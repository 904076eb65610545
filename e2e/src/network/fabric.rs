//! The router between the nodes' namespaces and the harness, and what it drops.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use super::{Entered, Namespace, ip};

/// Name, in cuts, of the harness and the operators beside it.
pub const OPERATORS: &str = "operators";
const UPLINK: &str = "10.255.255.0/30";
const UPLINK_HARNESS: &str = "10.255.255.1";
const UPLINK_ROUTER: &str = "10.255.255.2";
/// Rules before this one are the kernel's own; later ones look up routes.
const FIRST_RULE: u32 = 100;

/// A router in a namespace of its own. Dropping it takes all links with it.
#[derive(Debug)]
pub struct Fabric {
    pub(super) router: Namespace,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<String, Link>,
    /// Rule -> the node that is switched off, or none for silences and cuts.
    drops: BTreeMap<u32, Option<String>>,
}

/// One party: the router's interface towards it, and its networks.
#[derive(Clone, Debug)]
struct Link {
    interface: String,
    networks: Vec<String>,
}

impl Fabric {
    /// A router with a link to the harness.
    ///
    /// # Errors
    /// When something cannot be made.
    pub fn create(_: &Entered) -> Result<Arc<Self>> {
        let router = Namespace::create()?;
        ip(&format!(
            "link add up0 type veth peer name host netns {}\n\
             address add {UPLINK_HARNESS}/30 dev up0\n\
             link set up0 up\n",
            router.path().display()
        ))?;
        router.within(|| {
            ip(&format!(
                "link set lo up\naddress add {UPLINK_ROUTER}/30 dev host\nlink set host up\n"
            ))?;
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")
                .context("cannot switch routing on: /proc/sys is read-only here")
        })?;
        ip(&format!("route add 10.0.0.0/8 via {UPLINK_ROUTER}\n"))?;
        let operators = Link {
            interface: "host".into(),
            networks: vec![UPLINK.into()],
        };
        let state = State {
            links: BTreeMap::from([(OPERATORS.to_owned(), operators)]),
            drops: BTreeMap::new(),
        };
        Ok(Arc::new(Self {
            router,
            state: Mutex::new(state),
        }))
    }

    /// Makes the network of a node that stays in the harness's namespace.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn join_beside_harness(&self, group: u8, number: u8) -> Result<()> {
        let network = format!("10.{group}.{number}.0/24");
        ip(&format!("route add local {network} dev lo\n"))?;
        self.router
            .within(|| ip(&format!("route add {network} via {UPLINK_HARNESS}\n")))?;
        if let Some(link) = self.lock().links.get_mut(OPERATORS) {
            link.networks.push(network);
        }
        Ok(())
    }

    /// Makes the namespace of a node, linked to the router.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn join(&self, node: &str, group: u8, number: u8) -> Result<Namespace> {
        let namespace = Namespace::create()?;
        let interface = format!("n{group}-{number}");
        let subnet = format!("10.{group}.{number}");
        self.router.within(|| {
            ip(&format!(
                "link add {interface} type veth peer name eth0 netns {}\n\
                 address add {subnet}.254/24 dev {interface}\n\
                 link set {interface} up\n",
                namespace.path().display()
            ))
        })?;
        // Half of the network is the node's own without naming each address.
        namespace.within(|| {
            ip(&format!(
                "link set lo up\n\
                 address add {subnet}.1/24 dev eth0\n\
                 link set eth0 up\n\
                 route add local {subnet}.0/25 dev lo\n\
                 route add default via {subnet}.254\n"
            ))
        })?;
        let link = Link {
            interface,
            networks: vec![format!("{subnet}.0/24")],
        };
        self.lock().links.insert(node.to_owned(), link);
        Ok(namespace)
    }

    /// Nothing gets in or out of a node, without an error to anybody.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn silence(&self, node: &str) -> Result<()> {
        let rules = self.all_of(node)?;
        self.drop_what(&rules, None)
    }

    /// The same for a node without power: [`Fabric::heal`] does not help it.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn switch_off(&self, node: &str) -> Result<()> {
        let rules = self.all_of(node)?;
        self.drop_what(&rules, Some(node))
    }

    /// Drops what one party sends to another.
    ///
    /// # Errors
    /// When there is no such party.
    pub fn cut_one_way(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.link(from)?, self.link(to)?);
        let rules: Vec<String> = to
            .networks
            .iter()
            .map(|network| format!("iif {} to {network}", from.interface))
            .collect();
        self.drop_what(&rules, None)
    }

    /// Ends every silence and every cut.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn heal(&self) -> Result<()> {
        self.undo(None)
    }

    /// A node has power again.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn switch_on(&self, node: &str) -> Result<()> {
        self.undo(Some(node))
    }

    fn all_of(&self, node: &str) -> Result<Vec<String>> {
        let link = self.link(node)?;
        let mut rules = vec![format!("iif {}", link.interface)];
        rules.extend(link.networks.iter().map(|network| format!("to {network}")));
        Ok(rules)
    }

    fn drop_what(&self, rules: &[String], node: Option<&str>) -> Result<()> {
        let mut state = self.lock();
        let mut lines = String::new();
        for rule in rules {
            let last = state.drops.last_key_value();
            let preference = last.map_or(FIRST_RULE, |(last, _)| last + 1);
            state.drops.insert(preference, node.map(str::to_owned));
            let _ = writeln!(lines, "rule add pref {preference} {rule} type blackhole");
        }
        self.router.within(|| ip(&lines))
    }

    fn undo(&self, node: Option<&str>) -> Result<()> {
        let mut state = self.lock();
        let mut lines = String::new();
        state.drops.retain(|preference, of| {
            let goes = of.as_deref() == node;
            if goes {
                let _ = writeln!(lines, "rule delete pref {preference}");
            }
            !goes
        });
        self.router.within(|| ip(&lines))
    }

    fn link(&self, party: &str) -> Result<Link> {
        let state = self.lock();
        let link = state.links.get(party);
        link.cloned().with_context(|| {
            format!("{party} is not in this network: only nodes in namespaces can be cut off")
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
