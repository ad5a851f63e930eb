//! The URL grammar: a table of good URLs, a table of bad ones, and properties.

use kombu_core::{BrokerUrl, BrokerUrls, ErrorKind, IntoUrls, Secret};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;

/// What a URL is expected to mean.
#[derive(Default)]
struct Expected {
    scheme: &'static str,
    variant: Option<&'static str>,
    username: Option<&'static str>,
    password: Option<&'static str>,
    hosts: &'static [(&'static str, Option<u16>)],
    path: &'static str,
    vhost: Option<&'static str>,
    query: &'static [(&'static str, &'static str)],
    masked: &'static str,
}

#[test]
fn good_urls_have_the_parts_of_the_table() {
    for (text, expected) in good() {
        let url = BrokerUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(url.scheme(), expected.scheme, "scheme of {text}");
        assert_eq!(url.variant(), expected.variant, "variant of {text}");
        assert_eq!(url.username(), expected.username, "user of {text}");
        assert_eq!(url.password().map(Secret::expose), expected.password, "password of {text}");
        let hosts: Vec<_> = url.hosts().iter().map(|h| (h.name(), h.port())).collect();
        assert_eq!(hosts, expected.hosts, "hosts of {text}");
        assert_eq!(url.path(), expected.path, "path of {text}");
        assert_eq!(url.vhost(), expected.vhost, "vhost of {text}");
        assert_eq!(url.query().collect::<Vec<_>>(), expected.query, "query of {text}");
        assert_eq!(url.to_string(), expected.masked, "masked form of {text}");
        let again = BrokerUrl::parse(&url.to_string_unmasked()).unwrap();
        assert_eq!(again, url, "round trip of {text}");
    }
}

fn good() -> Vec<(&'static str, Expected)> {
    let amqp = || Expected { scheme: "amqp", ..Expected::default() };
    vec![
        ("amqp://:", Expected { masked: "amqp://", ..amqp() }),
        ("amqp://", Expected { masked: "amqp://", ..amqp() }),
        (
            "amqp://guest:guest@localhost//",
            Expected {
                username: Some("guest"),
                password: Some("guest"),
                hosts: &[("localhost", None)],
                path: "//",
                vhost: Some("/"),
                masked: "amqp://guest:**@localhost//",
                ..amqp()
            },
        ),
        ("amqp://h", Expected { hosts: &[("h", None)], masked: "amqp://h", ..amqp() }),
        ("amqp://h/", Expected { hosts: &[("h", None)], path: "/", masked: "amqp://h/", ..amqp() }),
        (
            "amqp://h/%2F",
            Expected {
                hosts: &[("h", None)],
                path: "//",
                vhost: Some("/"),
                masked: "amqp://h//",
                ..amqp()
            },
        ),
        (
            "amqp://h/%2fvh",
            Expected {
                hosts: &[("h", None)],
                path: "//vh",
                vhost: Some("/vh"),
                masked: "amqp://h//vh",
                ..amqp()
            },
        ),
        (
            "amqp://h/a/b",
            Expected {
                hosts: &[("h", None)],
                path: "/a/b",
                vhost: Some("a/b"),
                masked: "amqp://h/a/b",
                ..amqp()
            },
        ),
        (
            "amqp://Broker.Example:5673/Vhost@X",
            Expected {
                hosts: &[("broker.example", Some(5673))],
                path: "/Vhost@X",
                vhost: Some("Vhost@X"),
                masked: "amqp://broker.example:5673/Vhost@X",
                ..amqp()
            },
        ),
        (
            "amqp://user:p@ss:w@h",
            Expected {
                username: Some("user"),
                password: Some("p@ss:w"),
                hosts: &[("h", None)],
                masked: "amqp://user:**@h",
                ..amqp()
            },
        ),
        (
            "amqp://us%40er:%2F%3F%23%25%3B%20%C3%BC+@h",
            Expected {
                username: Some("us@er"),
                password: Some("/?#%; ü+"),
                hosts: &[("h", None)],
                masked: "amqp://us%40er:**@h",
                ..amqp()
            },
        ),
        (
            "amqp://user:@h",
            Expected {
                username: Some("user"),
                password: Some(""),
                hosts: &[("h", None)],
                masked: "amqp://user:**@h",
                ..amqp()
            },
        ),
        (
            "amqp://user@h",
            Expected {
                username: Some("user"),
                hosts: &[("h", None)],
                masked: "amqp://user@h",
                ..amqp()
            },
        ),
        ("amqp://@h", Expected { hosts: &[("h", None)], masked: "amqp://h", ..amqp() }),
        ("amqp://h:", Expected { hosts: &[("h", None)], masked: "amqp://h", ..amqp() }),
        ("amqp://:5673", Expected { hosts: &[("", Some(5673))], masked: "amqp://:5673", ..amqp() }),
        (
            "amqp://[::1]:5672/v",
            Expected {
                hosts: &[("::1", Some(5672))],
                path: "/v",
                vhost: Some("v"),
                masked: "amqp://[::1]:5672/v",
                ..amqp()
            },
        ),
        (
            "amqp://u:p@[FE80::1%25eth0]",
            Expected {
                username: Some("u"),
                password: Some("p"),
                hosts: &[("fe80::1%eth0", None)],
                masked: "amqp://u:**@[fe80::1%25eth0]",
                ..amqp()
            },
        ),
        (
            "amqps://h?heartbeat=10&ssl_keyfile=/k.pem&ssl_ca_certs=%2Fca.pem&x=a+b%2B&blank=&flag",
            Expected {
                scheme: "amqps",
                hosts: &[("h", None)],
                query: &[
                    ("heartbeat", "10"),
                    ("ssl_keyfile", "/k.pem"),
                    ("ssl_ca_certs", "/ca.pem"),
                    ("x", "a b+"),
                    ("blank", ""),
                    ("flag", ""),
                ],
                masked: "amqps://h?heartbeat=10&ssl_keyfile=/k.pem&ssl_ca_certs=/ca.pem\
                         &x=a%20b%2B&blank=&flag=",
                ..Expected::default()
            },
        ),
        (
            "redis://:secret@h:6379/3",
            Expected {
                scheme: "redis",
                password: Some("secret"),
                hosts: &[("h", Some(6379))],
                path: "/3",
                vhost: Some("3"),
                masked: "redis://:**@h:6379/3",
                ..Expected::default()
            },
        ),
        (
            "redis+socket:///var/run/redis.sock?virtual_host=2&password=hush",
            Expected {
                scheme: "redis",
                variant: Some("socket"),
                path: "/var/run/redis.sock",
                vhost: Some("var/run/redis.sock"),
                query: &[("virtual_host", "2"), ("password", "hush")],
                masked: "redis+socket:///var/run/redis.sock?virtual_host=2&password=**",
                ..Expected::default()
            },
        ),
        (
            "redis://h?sep=%06%16&sentinel_token=t&global_keyprefix=k.&proxy=http://u:p@x",
            Expected {
                scheme: "redis",
                hosts: &[("h", None)],
                query: &[
                    ("sep", "\u{6}\u{16}"),
                    ("sentinel_token", "t"),
                    ("global_keyprefix", "k."),
                    ("proxy", "http://u:p@x"),
                ],
                masked: "redis://h?sep=%06%16&sentinel_token=**&global_keyprefix=k.&proxy=**",
                ..Expected::default()
            },
        ),
        (
            "SQS://AKIA%2FX:sec%2Fret%2B@",
            Expected {
                scheme: "SQS",
                username: Some("AKIA/X"),
                password: Some("sec/ret+"),
                masked: "SQS://AKIA%2FX:**@",
                ..Expected::default()
            },
        ),
        (
            "mongodb://u:p@h1:27017,H2,h3:27019/db?replicaSet=rs",
            Expected {
                scheme: "mongodb",
                username: Some("u"),
                password: Some("p"),
                hosts: &[("h1", Some(27017)), ("h2", None), ("h3", Some(27019))],
                path: "/db",
                vhost: Some("db"),
                query: &[("replicaSet", "rs")],
                masked: "mongodb://u:**@h1:27017,h2,h3:27019/db?replicaSet=rs",
                ..Expected::default()
            },
        ),
        (
            "mongodb+srv://u:p,q@cluster.example",
            Expected {
                scheme: "mongodb",
                variant: Some("srv"),
                username: Some("u"),
                password: Some("p,q"),
                hosts: &[("cluster.example", None)],
                masked: "mongodb+srv://u:**@cluster.example",
                ..Expected::default()
            },
        ),
        (
            "sqla+sqlite:///relative.db",
            Expected {
                scheme: "sqla",
                variant: Some("sqlite"),
                path: "/relative.db",
                vhost: Some("relative.db"),
                masked: "sqla+sqlite:///relative.db",
                ..Expected::default()
            },
        ),
        (
            "sqla+sqlite:////absolute.db",
            Expected {
                scheme: "sqla",
                variant: Some("sqlite"),
                path: "//absolute.db",
                vhost: Some("/absolute.db"),
                masked: "sqla+sqlite:////absolute.db",
                ..Expected::default()
            },
        ),
        (
            "sqlalchemy+postgresql+psycopg2://u:p@%2FVar%2Frun/db",
            Expected {
                scheme: "sqlalchemy",
                variant: Some("postgresql+psycopg2"),
                username: Some("u"),
                password: Some("p"),
                hosts: &[("/Var/run", None)],
                path: "/db",
                vhost: Some("db"),
                masked: "sqlalchemy+postgresql+psycopg2://u:**@%2FVar%2Frun/db",
                ..Expected::default()
            },
        ),
        (
            "filesystem:///dir",
            Expected {
                scheme: "filesystem",
                path: "/dir",
                vhost: Some("dir"),
                masked: "filesystem:///dir",
                ..Expected::default()
            },
        ),
        ("memory://", Expected { scheme: "memory", masked: "memory://", ..Expected::default() }),
        (
            "memory://Name",
            Expected {
                scheme: "memory",
                hosts: &[("name", None)],
                masked: "memory://name",
                ..Expected::default()
            },
        ),
        (
            "pyro://ns/kombu.broker",
            Expected {
                scheme: "pyro",
                hosts: &[("ns", None)],
                path: "/kombu.broker",
                vhost: Some("kombu.broker"),
                masked: "pyro://ns/kombu.broker",
                ..Expected::default()
            },
        ),
        (
            "gcpubsub://projects/My-Project",
            Expected {
                scheme: "gcpubsub",
                hosts: &[("projects", None)],
                path: "/My-Project",
                vhost: Some("My-Project"),
                masked: "gcpubsub://projects/My-Project",
                ..Expected::default()
            },
        ),
        (
            "azureservicebus://policy:ab/c+d=@ns?wait_time_seconds=5",
            Expected {
                scheme: "azureservicebus",
                password: Some("policy:ab/c+d="),
                query: &[("wait_time_seconds", "5")],
                masked: "azureservicebus://**@ns?wait_time_seconds=5",
                ..Expected::default()
            },
        ),
        (
            "azurestoragequeues://?sv=1&sig=a%2F#@b@https://acct.queue.core.windows.net",
            Expected {
                scheme: "azurestoragequeues",
                password: Some("?sv=1&sig=a%2F#@b"),
                masked: "azurestoragequeues://**@https://acct.queue.core.windows.net",
                ..Expected::default()
            },
        ),
        (
            "azurestoragequeues://https://acct.queue.core.windows.net?sig=x",
            Expected {
                scheme: "azurestoragequeues",
                query: &[("sig", "x")],
                masked: "azurestoragequeues://https://acct.queue.core.windows.net?sig=**",
                ..Expected::default()
            },
        ),
    ]
}

#[test]
fn bad_urls_give_errors_that_name_the_part() {
    for (text, says) in BAD {
        let error = BrokerUrl::parse(text).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{text}");
        let shown = error.to_string();
        assert!(shown.contains(says), "{text}: {shown:?} does not say {says:?}");
        assert!(!format!("{error:?}").contains("hunter2"), "{text} leaks its password: {error:?}");
    }
}

const BAD: &[(&str, &str)] = &[
    ("", "the URL is empty"),
    ("localhost", "write amqp://localhost for a host, localhost:// for a scheme"),
    ("memory", "memory:// for a scheme"),
    ("broker.example", "write the scheme too, such as amqp://broker.example"),
    ("localhost:5672", "no \"://\""),
    ("user:hunter2@localhost", "no \"://\""),
    ("amqp:/u:hunter2@h", "no \"://\""),
    ("amqp:u:hunter2@h", "no \"://\""),
    ("://h", "no scheme before"),
    ("u:hunter2@h/x://y", "does not start with a scheme"),
    ("kombu.transport.redis://h", "the scheme holds '.'"),
    ("module:Class://h", "the scheme holds ':'"),
    ("am$qp://h", "the scheme holds '$'"),
    ("ämqp://h", "the scheme holds 'ä'"),
    ("1amqp://h", "must start with a letter"),
    ("redis+://h", "before or after a \"+\""),
    ("+redis://h", "before or after a \"+\""),
    ("amqp://u:hunter2@h:port", "the port is not a number"),
    ("amqp://h:-1", "the port is not a number"),
    ("amqp://h:+5672", "the port is not a number"),
    ("amqp://h:५", "the port is not a number"),
    ("amqp://h:1:2", "the port is not a number"),
    ("amqp://h:65536", "the port is out of range; write one from 1 to 65535"),
    ("amqp://h:99999999999999999999", "the port is out of range"),
    ("amqp://h:0", "the port is out of range"),
    ("amqp://u:hunter2/x@h", "write it as %2F, %3F or %23"),
    ("amqp://u:hunter2?x@h", "write it as %2F, %3F or %23"),
    ("amqp://u:12?3hunter2@h", "the name of query option 1 holds more"),
    ("amqp://u:hunter2#x@h", "a \"#\" must be written as %23"),
    ("amqp://u:hunter2%@h", "bad percent escape in the password"),
    ("amqp://u:hunter2%zz@h", "bad percent escape in the password"),
    ("amqp://u:hunter2%2@h", "bad percent escape in the password"),
    ("amqp://u:hunter2%+1@h", "bad percent escape in the password"),
    ("amqp://u%é:p@h", "bad percent escape in the user name"),
    ("amqp://h%zz", "bad percent escape in the host"),
    ("amqp://h/v%", "bad percent escape in the path"),
    ("amqp://h?a%=1", "bad percent escape in the query option's name"),
    ("amqp://h?password=hunter2%", "bad percent escape in the query option's value"),
    ("amqp://u:hunter2%ff@h", "escapes in the password are not UTF-8"),
    ("amqp://%C3:p@h", "escapes in the user name are not UTF-8"),
    ("amqp://h/%ff", "escapes in the path are not UTF-8"),
    ("amqp://h?a=%ff", "escapes in the query option's value are not UTF-8"),
    ("amqp://h?=1", "query option 1 has no name"),
    ("amqp://h?a=1&%20=2", "the name of query option 2 holds more"),
    ("amqp://u:hunter2 @h", "a space at character 17"),
    (" amqp://h", "a space at character 1"),
    ("amqp://h\n", "a line end at character 9"),
    ("amqp://h\t", "a tab"),
    ("amqp://h\0", "a NUL"),
    ("amqp://h/\u{7f}", "a control character"),
    ("amqp://h/\u{a0}", "a space"),
    ("amqp://u%00:p@h", "the user name holds an escaped NUL"),
    ("amqp://u:hunter2%00@h", "the password holds an escaped NUL"),
    ("amqp://h/%00", "the path holds an escaped NUL"),
    ("amqp://h%00", "the host holds an escaped NUL"),
    ("amqp://h%0a", "the host holds '\\n'"),
    ("amqp://${HOST}/", "the host holds '{'"),
    ("amqp://h%3A1", "the host holds ':'"),
    ("mongodb://h,,b", "an empty host in the list"),
    ("mongodb://h,", "an empty host in the list"),
    ("mongodb://,h", "an empty host in the list"),
    ("mongodb://h,:27017", "an empty host in the list"),
    ("amqp://[::1", "not closed with \"]\""),
    ("amqp://[::1]5672", "may follow the \"]\""),
    ("amqp://[nonsense]", "not an IPv6 address"),
    ("amqp://[]", "not an IPv6 address"),
    ("amqp://::1", "must stand in brackets"),
    ("amqp://h]", "the host holds ']'"),
    ("azureservicebus://p:hunter2 @ns", "a space"),
    ("azureservicebus://p:hunter2@ns?a=%f", "bad percent escape in the query"),
];

#[test]
fn a_list_holds_every_url_by_itself() {
    let urls =
        BrokerUrls::parse("amqp://u:hunter2@h:1/v1;amqp://h2;redis://:hunter2@h3/1").unwrap();
    let [first, second, third] = urls.as_slice() else { panic!("three URLs") };
    assert_eq!((first.port(), first.vhost()), (Some(1), Some("v1")));
    assert_eq!((second.port(), second.vhost(), second.username()), (None, None, None));
    assert_eq!(third.scheme(), "redis");
    assert_eq!(urls.to_string(), "amqp://u:**@h:1/v1;amqp://h2;redis://:**@h3/1");
    assert!(!format!("{urls:?}").contains("hunter2"));
    assert_eq!(BrokerUrls::parse(&urls.to_string_unmasked()).unwrap(), urls);
}

#[test]
fn lists_are_made_of_texts_arrays_and_urls() {
    let joined = BrokerUrls::parse("amqp://a;amqp://b").unwrap();
    assert_eq!(["amqp://a", "amqp://b"].into_urls().unwrap(), joined);
    assert_eq!(vec!["amqp://a".to_owned(), "amqp://b".to_owned()].into_urls().unwrap(), joined);
    assert_eq!(["amqp://a;amqp://b"].as_slice().into_urls().unwrap(), joined);
    assert_eq!(joined.first().into_urls().unwrap(), "amqp://a".into_urls().unwrap());
    let error = Vec::<String>::new().into_urls().unwrap_err();
    assert!(error.to_string().contains("the list of URLs is empty"), "{error}");
}

#[test]
fn bad_lists_say_which_url_is_wrong() {
    for (text, says) in [
        ("amqp://a;guest:hunter2@b", "write the whole URL of each broker"),
        ("amqp://u:hun;ter2@b", "write a \";\" inside a password as %3B (url=2 of 2)"),
        ("amqp://a;", "an empty URL in the list; remove the extra \";\" (url=2 of 2)"),
        (";amqp://a", "an empty URL in the list; remove the extra \";\" (url=1 of 2)"),
        ("a;amqp://b", "write amqp://a"),
        (
            "amqp://a;amqp://b:x;amqp://c",
            "the port is not a number; write one from 1 to 65535 (url=2 of 3)",
        ),
        ("", "the URL is empty"),
    ] {
        let error = BrokerUrls::parse(text).unwrap_err();
        let shown = format!("{error:?}");
        assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{text}");
        assert!(shown.contains(says), "{text}: {shown:?} does not say {says:?}");
        assert!(!shown.contains("hun"), "{text}: {shown}");
    }
}

#[test]
fn raw_access_gives_what_was_written() {
    let url = BrokerUrl::parse("sqla+postgresql://u:p%40@DB//x?a=%41").unwrap();
    assert_eq!(url.full_scheme(), "sqla+postgresql");
    assert_eq!(url.after_scheme().expose(), "u:p%40@DB//x?a=%41");
    assert_eq!(url.address(), "db//x");
    assert_eq!(format!("{:?}", url.after_scheme()), "**");
    let azure = BrokerUrl::parse("azurestoragequeues://K/e@y=@https://Acct.net?x=1").unwrap();
    assert_eq!(azure.address(), "https://Acct.net");
    assert_eq!((azure.host(), azure.username()), (None, None));
}

#[test]
fn the_first_host_is_the_host() {
    let url = BrokerUrl::parse("mongodb://a,b:2").unwrap();
    assert_eq!((url.host(), url.port()), (Some("a"), None));
    let shown: Vec<_> = url.hosts().iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["a", "b:2"]);
    assert_eq!(BrokerUrl::parse("amqp://:5").unwrap().host(), None);
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn unmasked_form_parses_to_the_same_url_and_masked_form_hides_the_password(
        text in url_text(),
    ) {
        let url = BrokerUrl::parse(&text).unwrap();
        let unmasked = url.to_string_unmasked();
        assert_eq!(BrokerUrl::parse(&unmasked).unwrap(), url);
        // The unmasked form is a fixed point.
        assert_eq!(BrokerUrl::parse(&unmasked).unwrap().to_string_unmasked(), unmasked);
        let masked = url.to_string();
        assert!(!masked.contains("SECRET") && masked.contains("**"), "{masked}");
        assert!(!format!("{url:?}").contains("SECRET"), "{url:?}");
        assert_eq!(BrokerUrl::parse(&masked).unwrap().hosts(), url.hosts());
    }

    #[test]
    fn escaped_parts_come_back_as_they_were(
        user in "[^\0]{1,12}", password in "[^\0]{0,12}", vhost in "[^\0]{1,12}", value in any::<String>(),
    ) {
        let text = format!(
            "amqp://{}:{}@h/{}?v={}", escaped(&user), escaped(&password), escaped(&vhost), escaped(&value)
        );
        let url = BrokerUrl::parse(&text).unwrap();
        assert_eq!(url.username(), Some(&*user));
        assert_eq!(url.password().map(Secret::expose), Some(&*password));
        assert_eq!(url.vhost(), Some(&*vhost));
        assert_eq!(url.query().collect::<Vec<_>>(), [("v", &*value)]);
        assert_eq!(BrokerUrl::parse(&url.to_string_unmasked()).unwrap(), url);
    }

    #[test]
    fn no_text_makes_the_parser_panic_or_leak(text in any::<String>(), tail in "[ -~]{0,20}") {
        for text in [text.clone(), format!("amqp://{text}"), format!("amqp://u:SECRET{tail}@h;{text}")] {
            match BrokerUrls::parse(&text) {
                Ok(urls) => {
                    assert_eq!(BrokerUrls::parse(&urls.to_string_unmasked()).unwrap(), urls);
                    assert!(!urls.to_string().contains("SECRET"), "{urls}");
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::InvalidUrl);
                    assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
                }
            }
        }
    }
}

/// Well-formed URLs with a password that holds `SECRET`, written with needless and needed escapes.
fn url_text() -> impl Strategy<Value = String> {
    let scheme = "[a-zA-Z][a-z0-9]{0,5}(\\+[a-z]{1,5}){0,2}";
    let user = "[a-z@.]{0,4}|%4[0-9a-f]{1}";
    let host = prop_oneof![
        "[a-zA-Z0-9.-]{1,8}(:[1-9][0-9]{0,3})?",
        "[a-z]{1,3}(:[1-9][0-9]{0,3})?(,[a-z]{1,3}){1,3}",
        Just("[2001:DB8::1]:5672".to_owned()),
        Just(String::new()),
    ];
    let path = "(/[a-zA-Z0-9@:,]{0,5}(%2[0-9a-f])?){0,3}";
    let query = "([?][a-z_]{1,6}=[a-z0-9/+,.]{0,6}(%2[0-9a-f])?(&password=SECRET)?)?";
    (scheme, user, "[a-z:@]{0,3}SECRET(%4[0-9a-f]){0,2}", host, path, query).prop_map(
        |(scheme, user, password, host, path, query)| {
            format!("{scheme}://{user}:{password}@{host}{path}{query}")
        },
    )
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
