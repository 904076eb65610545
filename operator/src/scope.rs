//! Where this operator looks: in every namespace, or in some of them only. With namespaces named it
//! asks for nothing that Roles in them do not allow.

use std::collections::BTreeSet;
use std::str::FromStr;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client, Resource};

/// Namespaces that can be named; each costs one watch for each kind.
const NAMESPACES_MAX: usize = 64;
/// Characters of a namespace's name (a DNS label).
const NAME_MAX: usize = 63;

/// Namespaces that are watched; none named means all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    namespaces: BTreeSet<String>,
}

impl Scope {
    /// How to ask for objects of one kind: once for everything, or once for each namespace.
    #[must_use]
    pub fn apis<T>(&self, client: &Client) -> Vec<Api<T>>
    where
        T: Resource<Scope = NamespaceResourceScope>,
        T::DynamicType: Default,
    {
        self.each(
            || Api::all(client.clone()),
            |namespace| Api::namespaced(client.clone(), namespace),
        )
    }

    /// The same for a kind that is known by its name only.
    #[must_use]
    pub fn apis_of(&self, client: &Client, resource: &ApiResource) -> Vec<Api<DynamicObject>> {
        self.each(
            || Api::all_with(client.clone(), resource),
            |namespace| Api::namespaced_with(client.clone(), namespace, resource),
        )
    }

    fn each<A>(&self, all: impl Fn() -> A, within: impl Fn(&str) -> A) -> Vec<A> {
        if self.namespaces.is_empty() {
            return vec![all()];
        }
        let names = self.namespaces.iter();
        names.map(|namespace| within(namespace)).collect()
    }

    /// Whether objects of that namespace are seen.
    #[must_use]
    pub fn contains(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespaces.is_empty() {
            return f.write_str("all");
        }
        let names: Vec<&str> = self.namespaces.iter().map(String::as_str).collect();
        f.write_str(&names.join(","))
    }
}

/// Names separated by commas; an empty list means every namespace.
impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim);
        let namespaces: BTreeSet<String> = names
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        if let Some(wrong) = namespaces.iter().find(|name| !is_name(name)) {
            return Err(format!(
                "`{wrong}` is no name of a namespace; namespaces are separated by commas, such as team-a,team-b"
            ));
        }
        if namespaces.len() > NAMESPACES_MAX {
            return Err(format!(
                "{} namespaces are more than {NAMESPACES_MAX}; leave the list empty to watch all",
                namespaces.len()
            ));
        }
        Ok(Self { namespaces })
    }
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= NAME_MAX
        && name.bytes().all(fits)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests;
