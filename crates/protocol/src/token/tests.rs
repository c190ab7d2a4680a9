use proptest::prelude::*;

use super::*;

fn example() -> Token {
    Token {
        role: Role::Worker,
        number: 7,
        secret: Secret::from_slice(&[0xab; 32]).unwrap(),
        trust: Trust::Pin(Fingerprint([0xcd; 32])),
        addresses: vec!["manager.example:7400".to_owned(), "[fd00::1]:7400".to_owned()],
    }
}

/// Tokens that were given out must stay good: these texts never change.
#[test]
fn tokens_of_version_1_are_read_for_ever() {
    let pinned = "tm1w_AQAAAAerq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urqwDNzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3NzQIUbWFuYWdlci5leGFtcGxlOjc0MDAOW2ZkMDA6OjFdOjc0MDDj-Nr0";
    assert_eq!(example().to_text().unwrap(), pinned);
    assert_eq!(Token::parse(pinned), Ok(example()));
    let trust = Trust::Authority { name: "manager.example".to_owned(), roots: None };
    let named = Token { role: Role::Admin, trust, addresses: vec!["manager.example:443".to_owned()], ..example() };
    let text = "tm1a_AwAAAAerq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urqwEPbWFuYWdlci5leGFtcGxlARNtYW5hZ2VyLmV4YW1wbGU6NDQzU_7NgQ";
    assert_eq!(named.to_text().unwrap(), text);
    assert_eq!(Token::parse(text), Ok(named));
}

#[test]
fn half_a_token_is_said_to_be_half_a_token() {
    let text = example().to_text().unwrap();
    for length in 5..text.len() {
        assert_eq!(Token::parse(&text[..length]), Err(TokenError::CutOff), "{length}");
    }
}

#[test]
fn a_changed_character_is_noticed_and_white_space_is_not() {
    let text = example().to_text().unwrap();
    for index in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        assert!(Token::parse(&String::from_utf8(changed).unwrap()).is_err(), "{index}");
    }
    let wrapped: String = text.chars().flat_map(|character| [character, '\n']).collect();
    assert_eq!(Token::parse(&wrapped), Ok(example()));
    assert!(matches!(Token::parse(&format!("{text}{text}")), Err(TokenError::Damaged)));
    assert_eq!(Token::parse(&text.replace("tm1w", "tm1c")), Err(TokenError::Damaged));
    assert_eq!(Token::parse(&text.replace("tm1w", "tm2w")), Err(TokenError::Newer));
    assert_eq!(Token::parse("hunter2"), Err(TokenError::NotAToken));
    assert_eq!(Token::parse(&"x".repeat(9_000)), Err(TokenError::TooLong));
}

#[test]
fn a_token_for_something_else_says_what_is_wanted() {
    let error = example().require(&[Role::Client, Role::Admin]).unwrap_err().to_string();
    assert!(error.contains("a worker's token") && error.contains("--role client"), "{error}");
    assert_eq!(example().require(&[Role::Worker]), Ok(()));
    assert!(!format!("{:?}", example()).contains("171"), "the secret's bytes");
}

#[test]
fn what_a_token_cannot_carry_is_refused() {
    let addresses =
        |addresses: Vec<&str>| Token { addresses: addresses.into_iter().map(str::to_owned).collect(), ..example() };
    for bad in ["", "host", "host:", ":1", "host:0", "host:65536", "fd00::1:7400", "[fd00::1", "[x]:1", "a b:1"] {
        assert!(matches!(addresses(vec![bad]).to_text(), Err(TokenError::Unfit { .. })), "{bad}");
    }
    assert!(addresses(vec!["a:1"; MOST_ADDRESSES + 1]).to_text().is_err());
    let longest = format!("{}:7400", "a".repeat(LONGEST_TEXT - 5));
    let largest = addresses(vec![&longest; MOST_ADDRESSES]);
    assert_eq!(Token::parse(&largest.to_text().unwrap()), Ok(largest));
}

proptest! {
    #[test]
    fn arbitrary_text_is_never_a_token(text in "(tm[0-9]{0,2}[wcax]?_)?[A-Za-z0-9_-]{0,200}|.{0,100}") {
        prop_assert!(Token::parse(&text).is_err());
    }

    #[test]
    fn a_token_comes_back(
        number in any::<u32>(),
        secret in any::<[u8; 32]>(),
        hosts in prop::collection::vec("[a-z][a-z0-9.-]{0,40}", 0..=16),
        role in prop::sample::select(vec![Role::Worker, Role::Client, Role::Admin]),
        port in 1_u16..,
    ) {
        let addresses = hosts.iter().map(|host| format!("{host}:{port}")).collect();
        let token = Token { role, number, secret: Secret::from_slice(&secret).unwrap(), addresses, ..example() };
        prop_assert_eq!(Token::parse(&token.to_text().unwrap()), Ok(token));
    }
}

#[test]
fn a_token_is_found_in_any_text_and_hidden() {
    let text = example().to_text().unwrap();
    let other = text.replace("tm1w", "tm12a");
    let around = format!("tm1w_ is the prefix: {text:?}, and {other}.");
    assert!(contains_token(&around));
    assert_eq!(redact_tokens(&around), "tm1w_ is the prefix: \"***\", and ***.");
    assert_eq!(redact_tokens(&redact_tokens(&around)), redact_tokens(&around));
    let wrapped: String = text.chars().flat_map(|character| [character, '\n']).collect();
    assert!(contains_token(&wrapped));
    // So little of one gives nothing away.
    assert!(contains_token(&text[..29]) && !contains_token(&text[..28]));
    for harmless in ["", "tm", "tm1w", "/etc/tm1w_production.token", "atmw_AQAAAAerq6urq6urq6urq6urq6urq6urq", "é"] {
        assert!(!contains_token(harmless), "{harmless}");
        assert_eq!(redact_tokens(harmless), harmless);
    }
}
