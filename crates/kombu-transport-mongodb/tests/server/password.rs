//! Passwords that are wrong.

use kombu_conformance::kit::{Outcome, variable};
use kombu_conformance::own_cases;
use kombu_core::{ErrorKind, RetryPolicy};

use crate::ground::builder;
use crate::here;

own_cases! {
    beside a_wrong_password_is_said_and_not_shown [here::SECURED_URL];
}

async fn a_wrong_password_is_said_and_not_shown() -> Outcome {
    let url = variable(here::SECURED_URL).unwrap_or_default();
    builder(&url).connect().await?.close().await?;
    let wrong = url.replacen(":alicepw@", ":not-hers@", 1);
    assert_ne!(wrong, url);
    let connecting = builder(&wrong).retry(RetryPolicy::once()).connect();
    let error = connecting.await.map(drop).expect_err("it is the wrong one");
    assert_eq!(error.kind(), ErrorKind::AccessRefused, "{error}");
    let (said, shown) = (error.to_string(), format!("{error:?}"));
    assert!(said.contains("the server does not take the credentials"), "{said}");
    assert!(!said.contains("not-hers") && !shown.contains("not-hers"), "{shown}");
    Ok(())
}
