//! Who works with the gateway beside its owner: people, each with an account of their own.
//!
//! Rule: a person is a user id of the operating system. Root and an id that stands for "somebody else" are nobody in
//! particular, so they are no person whose yes could be a second one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Who works with the gateway beside its owner.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Staff {
    /// Login names or user numbers.
    pub users: Vec<String>,
    /// The socket on which they reach the gateway: an absolute path outside the home. Absent: nobody but the owner does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// How long an approval counts, in seconds.
    pub approval_s_max: u32,
}

impl Default for Staff {
    fn default() -> Self {
        Self { users: Vec::new(), socket: None, approval_s_max: 24 * 3600 }
    }
}

/// The people of the staff, by user number.
#[derive(Clone, Debug, Default)]
pub struct People(BTreeMap<u32, String>);

impl People {
    /// Whether this user is one of them.
    pub fn has(&self, uid: u32) -> bool {
        self.0.contains_key(&uid)
    }

    /// Their numbers.
    pub fn uids(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }

    /// How a person is called: the login name as configured, else the number.
    pub fn name(&self, uid: u32) -> String {
        self.0.get(&uid).cloned().unwrap_or_else(|| format!("uid:{uid}"))
    }
}

impl Staff {
    /// Finds the numbers of the users, in `passwd` as /etc/passwd has it.
    pub fn people(&self, passwd: &str) -> Result<People, ConfigError> {
        let accounts: Vec<(&str, u32)> = passwd.lines().filter_map(account).collect();
        let mut people = BTreeMap::new();
        for user in &self.users {
            let uid = user
                .parse::<u32>()
                .ok()
                .or_else(|| accounts.iter().find(|(name, _)| name == user).map(|(_, uid)| *uid))
                .ok_or_else(|| refused(user, "a login name of /etc/passwd, or a number as `id -u NAME` prints it"))?;
            if uid == 0 || NOBODY.contains(&uid) {
                return Err(refused(user, "people with an account of their own; root and nobody are no person"));
            }
            let name = accounts.iter().find(|(_, number)| *number == uid).map(|(name, _)| (*name).to_owned());
            if people.insert(uid, name.unwrap_or_else(|| format!("uid:{uid}"))).is_some() {
                return Err(refused(user, "each user once"));
            }
        }
        Ok(People(people))
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.approval_s_max == 0 || self.approval_s_max > APPROVAL_S_MAX {
            let allowed = "1 to 604800 seconds";
            return Err(ConfigError::Range {
                key: "staff.approval_s_max",
                found: self.approval_s_max.to_string(),
                allowed,
            });
        }
        match &self.socket {
            Some(socket) if !socket.is_absolute() || socket.as_os_str().len() > SOCKET_BYTES_MAX => {
                Err(ConfigError::Range {
                    key: "staff.socket",
                    found: socket.display().to_string(),
                    allowed: "an absolute path of at most 107 bytes",
                })
            }
            _ => Ok(()),
        }
    }
}

/// Name and number of a line of /etc/passwd.
fn account(line: &str) -> Option<(&str, u32)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    Some((name, fields.nth(1)?.parse().ok()?))
}

fn refused(user: &str, allowed: &'static str) -> ConfigError {
    ConfigError::Range { key: "staff.users", found: user.chars().take(64).collect(), allowed }
}

/// What the kernel and the system put in the place of a user whom they do not know: the overflow ids, and "no user".
const NOBODY: [u32; 3] = [65_534, 65_535, u32::MAX];

/// An approval that is older than a week says nothing of today.
const APPROVAL_S_MAX: u32 = 7 * 24 * 3600;

/// A socket's name holds 107 bytes.
const SOCKET_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nkumar:x:1001:1001::/:/bin/sh\nlee:x:1002:1002::/:/bin/sh\n\
        nobody:x:65534:65534::/:/bin/false\nbroken\n";

    fn people(users: &[&str]) -> Result<People, ConfigError> {
        Staff { users: users.iter().map(|user| (*user).to_owned()).collect(), ..Staff::default() }.people(PASSWD)
    }

    #[test]
    fn staff_are_people_by_name_or_number() {
        let found = people(&["kumar", "1002", "4000"]).expect("three people");
        assert_eq!(found.uids().collect::<Vec<_>>(), [1001, 1002, 4000]);
        assert_eq!((found.name(1002), found.name(4000)), ("lee".to_owned(), "uid:4000".to_owned()));
        assert!(found.has(1001) && !found.has(0) && !found.has(1003));
    }

    #[test]
    fn root_and_nobody_are_no_person_and_nobody_is_two() {
        for users in [&["root"][..], &["0"], &["nobody"], &["65534"], &["4294967295"], &["unknown"], &["kumar", "1001"]]
        {
            assert!(people(users).is_err(), "{users:?}");
        }
    }

    #[test]
    fn a_socket_lies_at_an_absolute_path() {
        for (socket, taken) in [("/run/medseal/staff.sock", true), ("staff.sock", false)] {
            let staff = Staff { socket: Some(socket.into()), ..Staff::default() };
            assert_eq!(staff.check().is_ok(), taken, "{socket}");
        }
    }
}
