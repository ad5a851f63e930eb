//! Reads `docker-compose.yml` as far as it must agree with the table of brokers.

use std::collections::BTreeMap;

use crate::brokers::{Broker, TRANSPORTS};

/// What a service says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    image: String,
    transport: String,
    version: String,
    variants: Vec<String>,
    /// Names of the variables that set its ports.
    ports: Vec<String>,
}

/// Says where the file and the table of brokers differ.
pub(crate) fn differences(text: &str) -> Vec<String> {
    let mut services = services(text);
    let mut differences = Vec::new();
    for transport in TRANSPORTS {
        for broker in transport.brokers {
            let expected = expected(transport.name, *broker);
            match services.remove(broker.name()) {
                None => differences.push(format!("no service {}", broker.name())),
                Some(service) if service != expected => differences.push(format!(
                    "service {}: {service:?}, the table has {expected:?}",
                    broker.name()
                )),
                Some(_) => {}
            }
            if !broker.image().contains(broker.version()) {
                differences.push(format!(
                    "image {} is not version {}",
                    broker.image(),
                    broker.version()
                ));
            }
        }
    }
    differences.extend(services.keys().map(|name| format!("service {name} is not in the table")));
    differences
}

/// The service that the table asks for.
fn expected(transport: &str, broker: &dyn Broker) -> Service {
    let variants = broker.variants().iter();
    Service {
        image: broker.image().to_owned(),
        transport: transport.to_owned(),
        version: broker.version().to_owned(),
        variants: variants.map(|variant| variant.name.to_owned()).collect(),
        ports: broker
            .published_ports()
            .iter()
            .map(|port| super::docker::port_variable(broker, port))
            .collect(),
    }
}

/// Reads the services. Of YAML it knows nested maps by two spaces a level and scalars on one line, which is how the
/// file is written.
fn services(text: &str) -> BTreeMap<String, Service> {
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    let mut section = "";
    let mut name = "";
    for line in text.lines() {
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let depth = line.len() - line.trim_start().len();
        let (key, value) = content.split_once(':').unwrap_or((content, ""));
        let value = value.trim().trim_matches('"');
        match depth {
            0 => section = key,
            2 if section == "services" => {
                name = key;
                services.entry(name.to_owned()).or_default();
            }
            _ => {}
        }
        let Some(service) = services.get_mut(name).filter(|_| section == "services") else {
            continue;
        };
        match (depth, key) {
            (4, "image") => value.clone_into(&mut service.image),
            (4, "profiles") => {
                value.trim_matches(['[', ']']).clone_into(&mut service.transport);
            }
            (6, "kombu.version") => value.clone_into(&mut service.version),
            (6, "kombu.variants") => {
                service.variants = value.split_whitespace().map(str::to_owned).collect();
            }
            (6, _) => service.ports.extend(port_variable(content)),
            _ => {}
        }
    }
    services
}

/// The variable in `- "127.0.0.1:${KOMBU_X_PORT:-1}:1"`.
fn port_variable(content: &str) -> Option<String> {
    let (_, rest) = content.strip_prefix("- \"127.0.0.1:")?.split_once("${")?;
    Some(rest.split_once(":-")?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../../docker-compose.yml");

    #[test]
    fn docker_compose_and_the_table_hold_the_same_brokers() {
        assert_eq!(differences(FILE), Vec::<String>::new());
    }

    #[test]
    fn another_image_is_a_difference() {
        let other = FILE.replace("image: rabbitmq:3", "image: rabbitmq:4");
        assert_eq!(differences(&other).len(), 1);
    }

    #[test]
    fn a_service_of_no_broker_is_a_difference() {
        let more = format!("{FILE}\n  other:\n    image: other:1\n");
        assert_eq!(differences(&more), ["service other is not in the table"]);
    }
}
