//! Who may do what, and who is told that they may not.

use crate::harness::{Authority, Cluster, run, until};
use anyhow::{Context, Result, bail, ensure};
use quorate_client::{
    CallError, Client, ClientOptions, ConsumeError, ConsumerOptions, Credentials, Message, PublishError,
    PublisherOptions, ReadOptions, Reason, Refusal, v1,
};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const ADMIN: &str = "a-password-of-the-admin";
const CLERK: &str = "a-password-of-the-clerk";

/// A cluster where clients say who they are; its own clients are the admin.
async fn start(nodes: usize, more: impl Fn(&Path) -> Result<Vec<String>>) -> Result<Cluster> {
    let mut cluster = Cluster::new(nodes)?;
    let file = cluster.directory()?.join("admin.txt");
    std::fs::write(&file, format!("{ADMIN}\n"))?;
    let mut arguments = vec!["--auth".to_owned(), format!("--auth-admin-password-file={}", file.display())];
    arguments.extend(more(cluster.directory()?)?);
    cluster.options.credentials = Some(Credentials::password("admin", ADMIN)?);
    for node in &mut cluster.nodes {
        node.arguments.clone_from(&arguments);
        node.start()?;
    }
    cluster.wait_ready().await?;
    let admin = cluster.client(0)?;
    until("the first user", async || Ok(admin.who_am_i().await?)).await?;
    Ok(cluster)
}

fn nothing_more(_: &Path) -> Result<Vec<String>> {
    Ok(Vec::new())
}

impl Cluster {
    fn client_as(&self, credentials: Option<Credentials>) -> Result<Client> {
        let addresses: Vec<String> = self.nodes.iter().map(|node| node.address()).collect();
        Ok(Client::new(&addresses, ClientOptions { credentials, ..self.options.clone() })?)
    }

    /// A user clerk with a role of its own, as whom the client comes; known to all nodes.
    async fn clerk(&self, grants: &[(&[&str], &str)]) -> Result<Client> {
        let admin = self.client(0)?;
        admin.put_role("clerk", grants.iter().map(grant).collect()).await?;
        admin.create_user("clerk", Some(CLERK), &["clerk".to_owned()]).await?;
        let clerk = Credentials::password("clerk", CLERK)?;
        for node in 0..self.nodes.len() {
            let options = ClientOptions { credentials: Some(clerk.clone()), ..self.options.clone() };
            let client = Client::new(&[self.nodes[node].address()], options)?;
            until("the clerk to be known", async || {
                let me = client.who_am_i().await?;
                ensure!(me.roles == ["clerk"], "{me:?}");
                Ok(())
            })
            .await?;
        }
        self.client_as(Some(clerk))
    }
}

fn grant((permissions, names): &(&[&str], &str)) -> v1::Grant {
    let permissions = permissions.iter().map(|&p| p.to_owned()).collect();
    v1::Grant { permissions, namespace: "default".to_owned(), names: (*names).to_owned() }
}

trait Outcome {
    fn refusal(self) -> Result<Refusal>;
}

impl<T> Outcome for Result<T, CallError> {
    fn refusal(self) -> Result<Refusal> {
        match self.err().context("it was done")? {
            CallError::Refused(refusal) => Ok(refusal),
            error => Err(error.into()),
        }
    }
}

impl<T> Outcome for Result<T, PublishError> {
    fn refusal(self) -> Result<Refusal> {
        match self.err().context("it was done")? {
            PublishError::Refused(refusal) => Ok(refusal),
            error => Err(error.into()),
        }
    }
}

impl<T> Outcome for Result<T, ConsumeError> {
    fn refusal(self) -> Result<Refusal> {
        match self.err().context("it was done")? {
            ConsumeError::Refused(refusal) => Ok(refusal),
            error => Err(error.into()),
        }
    }
}

fn expect(reason: Reason, outcome: impl Outcome) -> Result<()> {
    let refusal = outcome.refusal().with_context(|| format!("{reason} was expected"))?;
    ensure!(refusal.reason == reason, "{reason} was expected, not {refusal}");
    Ok(())
}

async fn published(client: &Client, topic: &str) -> Result<(), PublishError> {
    let publisher = client.publisher(PublisherOptions::default());
    publisher.send(topic, Message::new("x")).await?.await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_cannot_say_who_they_are_may_do_nothing() -> Result<()> {
    let mut cluster = start(3, nothing_more).await?;
    cluster.topic("orders").await?;
    let strangers = [
        None,
        Some(Credentials::password("admin", "a-wrong-password")?),
        Some(Credentials::password("nobody", ADMIN)?),
        Some(Credentials::token("a.b.c")?),
    ];
    for stranger in strangers {
        let client = cluster.client_as(stranger)?;
        let reason = Reason::Unauthenticated;
        expect(reason, client.status().await)?;
        expect(reason, client.who_am_i().await)?;
        expect(reason, client.create_topic("bills", v1::TopicConfig::default()).await)?;
        expect(reason, client.users().await)?;
        expect(reason, published(&client, "orders").await)?;
        expect(reason, client.consume("orders", ConsumerOptions::default()).await)?;
        expect(reason, client.read("orders", ReadOptions::default()).next().await.context("an answer")?)?;
    }
    // Whoever looks after processes needs no credentials.
    for node in &cluster.nodes {
        let channel = cluster.options.connect.channel(&node.address(), &cluster.options.channel)?;
        quorate_wire::ping(channel).await?;
    }
    // Users are on the disks of a majority.
    for node in &mut cluster.nodes {
        node.kill().await?;
        node.start()?;
    }
    cluster.wait_ready().await?;
    let me = cluster.client(1)?.who_am_i().await?;
    ensure!((me.user.as_str(), me.roles.as_slice()) == ("admin", &["admin".to_owned()][..]), "{me:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_may_do_what_a_role_permits_and_nothing_else() -> Result<()> {
    let cluster = start(1, nothing_more).await?;
    for topic in ["orders.eu", "bills"] {
        cluster.topic(topic).await?;
    }
    let clerk = cluster.clerk(&[(&["publish"], "orders.#"), (&["consume"], "bills")]).await?;
    published(&clerk, "orders.eu").await?;
    let denied = Reason::PermissionDenied;
    expect(denied, published(&clerk, "bills").await)?;
    expect(denied, clerk.consume("orders.eu", ConsumerOptions::default()).await)?;
    expect(denied, clerk.read("orders.eu", ReadOptions::default()).next().await.context("an answer")?)?;
    expect(denied, clerk.create_topic("orders.us", v1::TopicConfig::default()).await)?;
    expect(denied, clerk.delete_topic("orders.eu").await)?;
    expect(denied, clerk.purge_subscription("bills").await)?;
    expect(denied, clerk.create_namespace("shop", 1).await)?;
    expect(denied, clerk.users().await)?;
    expect(denied, clerk.create_user("me", Some(CLERK), &["admin".to_owned()]).await)?;
    expect(denied, clerk.set_roles("clerk", &["admin".to_owned()]).await)?;
    expect(denied, clerk.change_password("admin", Some(CLERK)).await)?;
    clerk.consume("bills", ConsumerOptions::default()).await?.close().await;
    clerk.describe_topic("orders.eu").await?;
    // One request of the client may have messages for both topics: each is judged by itself.
    let publisher = clerk.publisher(PublisherOptions::default());
    let mut sent = Vec::new();
    for number in 0..20 {
        let topic = if number % 2 == 0 { "orders.eu" } else { "bills" };
        sent.push((topic, publisher.send(topic, Message::new("x")).await?));
    }
    for (topic, confirmation) in sent {
        match (topic, confirmation.await) {
            ("orders.eu", outcome) => drop(outcome?),
            (_, outcome) => expect(denied, outcome)?,
        }
    }
    // The own password is one's own.
    clerk.change_password("clerk", Some("another-password")).await?;
    until("the former password to be of no use", async || {
        expect(Reason::Unauthenticated, clerk.who_am_i().await)
    })
    .await?;
    let log = cluster.nodes[0].log();
    for part in ["create_user", "change_user", "delete_topic", "PERMISSION_DENIED", "audit"] {
        ensure!(log.contains(part), "{part} is not in the log");
    }
    for secret in [ADMIN, CLERK, "another-password", "argon2id"] {
        ensure!(!log.contains(secret), "the log has {secret}");
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_from_a_user_is_taken_from_what_is_open() -> Result<()> {
    let cluster = start(1, nothing_more).await?;
    cluster.topic("orders").await?;
    let clerk = cluster.clerk(&[(&["publish", "consume"], "orders")]).await?;
    let admin = cluster.client(0)?;
    let publisher = clerk.publisher(PublisherOptions::default());
    publisher.send("orders", Message::new("x")).await?.await?;
    let mut consumer = clerk.consume("orders", ConsumerOptions::default()).await?;
    consumer.next().await.context("a message")??.ack().await?;
    admin.put_role("clerk", vec![grant(&(&["consume"], "orders"))]).await?;
    until("publishing to be denied", async || {
        expect(Reason::PermissionDenied, publisher.send("orders", Message::new("x")).await?.await)
    })
    .await?;
    admin.delete_user("clerk").await?;
    let end = timeout(Duration::from_secs(30), async {
        loop {
            match consumer.next().await {
                Some(Ok(_)) => {}
                other => return other,
            }
        }
    });
    match end.await.context("the consumer goes on")? {
        Some(Err(ConsumeError::Refused(refusal))) => {
            ensure!(refusal.reason == Reason::Unauthenticated, "{refusal}");
        }
        other => bail!("{other:?}"),
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_good_until_it_is_over_and_of_its_issuer_alone() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (key, foreign, jwks) = (path("key.pem"), path("foreign.pem"), path("jwks.json"));
    for (key, jwks) in [(&key, &jwks), (&foreign, &path("foreign.json"))] {
        let made = run(&["token", "keys", "--key-file", key, "--jwks-file", jwks]).await?;
        ensure!(made.code == Some(0), "{made:?}");
    }
    let flags = [
        format!("--auth-jwks-file={jwks}"),
        "--auth-jwt-issuer=ops".to_owned(),
        "--auth-jwt-audience=quorate".to_owned(),
    ];
    let cluster = start(1, |_| Ok(flags.to_vec())).await?;
    let token = async |key: &str, audience: &str, valid: &str| {
        let made = run(&[
            "token",
            "create",
            "--key-file",
            key,
            "--issuer",
            "ops",
            "--audience",
            audience,
            "--subject",
            "ann@example.com",
            "--role",
            "admin",
            "--valid",
            valid,
        ])
        .await?;
        ensure!(made.code == Some(0), "{made:?}");
        anyhow::Ok(Credentials::token(&made.stdout)?)
    };
    let ann = cluster.client_as(Some(token(&key, "quorate", "1h").await?))?;
    let me = ann.who_am_i().await?;
    ensure!(
        (me.user.as_str(), me.roles.as_slice()) == ("ann@example.com", &["admin".to_owned()][..]),
        "{me:?}"
    );
    ann.create_topic("orders", v1::TopicConfig::default()).await?;
    for bad in [
        token(&foreign, "quorate", "1h").await?,
        token(&key, "shop", "1h").await?,
        token(&key, "quorate", "0s").await?,
    ] {
        expect(Reason::Unauthenticated, cluster.client_as(Some(bad))?.who_am_i().await)?;
    }
    let short = cluster.client_as(Some(token(&key, "quorate", "5s").await?))?;
    short.who_am_i().await?;
    until("the token to be over", async || expect(Reason::Unauthenticated, short.who_am_i().await)).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_says_who_comes() -> Result<()> {
    let mut cluster = Cluster::new(1)?;
    let authority = Authority::new(cluster.directory()?, "clients-ca")?;
    let own = authority.issue("node", 2090)?;
    let file = cluster.directory()?.join("admin.txt");
    std::fs::write(&file, ADMIN)?;
    let node = &mut cluster.nodes[0];
    node.arguments = vec![
        "--auth".to_owned(),
        format!("--auth-admin-password-file={}", file.display()),
        format!("--tls-client-cert={}", own.cert.display()),
        format!("--tls-client-key={}", own.key.display()),
        format!("--tls-client-ca={}", authority.ca.display()),
    ];
    node.start()?;
    cluster.options = authority.trusted(None)?;
    cluster.options.credentials = Some(Credentials::password("admin", ADMIN)?);
    cluster.wait_ready().await?;
    let admin = cluster.client(0)?;
    until("the first user", async || Ok(admin.who_am_i().await?)).await?;
    let address = [cluster.nodes[0].address()];
    let as_robot =
        || anyhow::Ok(Client::new(&address, authority.trusted(Some(authority.issue("robot", 2090)?))?)?);
    expect(Reason::Unauthenticated, as_robot()?.who_am_i().await)?;
    expect(Reason::Unauthenticated, Client::new(&address, authority.trusted(None)?)?.who_am_i().await)?;
    admin.create_user("robot", None, &[]).await?;
    let robot = as_robot()?;
    let me = until("the robot to be known", async || Ok(robot.who_am_i().await?)).await?;
    ensure!(me.user == "robot", "{me:?}");
    expect(Reason::PermissionDenied, robot.create_topic("orders", v1::TopicConfig::default()).await)?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_known_costs_little_memory() -> Result<()> {
    let cluster = start(1, nothing_more).await?;
    let port = cluster.nodes[0].ports.client;
    let before = cluster.nodes[0].resident_bytes()?;
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        // The preface, then the head of a frame of 16 MiB less one.
        stream
            .write_all(
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\xff\xff\xff\x00\x00\x00\x00\x00\x01",
            )
            .await?;
        // The node may close at any byte of it.
        let _ = stream.write_all(&vec![0; 1 << 20]).await;
        let mut answer = Vec::new();
        let ended = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
        ensure!(ended.is_ok(), "the node waits for the rest of an oversized frame");
        held.push(stream);
    }
    let grown = cluster.nodes[0].resident_bytes()?.saturating_sub(before);
    ensure!(grown < 64 << 20, "64 strangers took {grown} bytes");
    cluster.client(0)?.status().await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_roles_are_made_with_the_binary_and_no_secret_is_an_argument() -> Result<()> {
    let cluster = start(1, nothing_more).await?;
    let directory = cluster.directory()?.to_owned();
    let (admin, clerk) = (directory.join("admin.txt"), directory.join("clerk.txt"));
    std::fs::write(&clerk, CLERK)?;
    let (admin, clerk) = (admin.display().to_string(), clerk.display().to_string());
    let nodes = cluster.nodes[0].address();
    let quorate = async |user: &str, file: &str, arguments: &[&str]| {
        let access = ["--nodes", &nodes, "--user", user, "--password-file", file];
        run(&[arguments, &access].concat()).await
    };
    let commands: [&[&str]; 5] = [
        &["role", "put", "clerk", "publish,configure@default:orders"],
        &["user", "add", "clerk", "--role", "clerk", "--new-password-file", &clerk],
        &["role", "show", "clerk"],
        &["user", "list"],
        &["role", "list"],
    ];
    for arguments in commands {
        let done = quorate("admin", &admin, arguments).await?;
        ensure!(done.code == Some(0), "{arguments:?}: {done:?}");
    }
    let created = until("the clerk to be known", async || {
        let done = quorate("clerk", &clerk, &["topic", "create", "orders"]).await?;
        ensure!(done.code == Some(0), "{done:?}");
        Ok(done)
    });
    created.await?;
    let denied = quorate("clerk", &clerk, &["topic", "create", "bills"]).await?;
    ensure!(denied.code == Some(1) && denied.stderr.contains("PERMISSION_DENIED"), "{denied:?}");
    let wrong = quorate("clerk", &admin, &["topic", "list"]).await?;
    ensure!(wrong.code == Some(1) && wrong.stderr.contains("UNAUTHENTICATED"), "{wrong:?}");
    let in_use = quorate("admin", &admin, &["role", "delete", "clerk"]).await?;
    ensure!(in_use.stderr.contains("ROLE_IN_USE"), "{in_use:?}");
    for arguments in [&["user", "delete", "clerk"], &["role", "delete", "clerk"]] {
        let done = quorate("admin", &admin, arguments).await?;
        ensure!(done.code == Some(0), "{done:?}");
    }
    for secret in [ADMIN, CLERK] {
        ensure!(!cluster.nodes[0].command_line()?.contains(secret), "everybody can read {secret}");
        ensure!(!cluster.nodes[0].log().contains(secret), "the log has {secret}");
    }
    cluster.finish().await
}
