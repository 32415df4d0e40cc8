//! The reason codes: why the answer was no, or why something waits.
//!
//! Rule: a code, once published, keeps its meaning; docs/REASONS.md lists this table and a test compares them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares the codes with their text form, meaning and remedy in one table.
macro_rules! reasons {
    ($($name:ident $code:literal $meaning:literal $remedy:literal;)+) => {
        /// A stable reason code.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
        pub enum Reason {
            $(#[doc = $meaning] #[serde(rename = $code)] $name,)+
        }

        impl Reason {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code as it stands in the log and in JSON.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }

            /// What it means, as one plain sentence without a full stop.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning),+ }
            }

            /// What a person can do about it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy),+ }
            }
        }
    };
}

reasons! {
    // The patient's will
    NoConsent "NO_CONSENT" "no consent of this patient is on file that covers this release" "record the patient's consent with `medseal consent add FILE`";
    ConsentWithdrawn "CONSENT_WITHDRAWN" "the patient has withdrawn the consent" "do not send; if the patient decides anew, record a new consent";
    ConsentExpired "CONSENT_EXPIRED" "the consent has ended" "ask the patient to renew it, then `medseal consent add FILE`";
    ConsentNotYet "CONSENT_NOT_YET" "the consent does not apply yet" "send after the start of its period";
    ConsentInactive "CONSENT_INACTIVE" "the consent on file is not active" "record an active consent";
    ConsentDenied "CONSENT_DENIED" "the patient's consent excludes this" "leave the excluded document out, or ask the patient";
    ConsentUnsupported "CONSENT_UNSUPPORTED" "a consent on file has a part that medseal does not evaluate, so it cannot permit" "record it in the profile of docs/CONSENT.md";
    ConsentUnverified "CONSENT_UNVERIFIED" "nobody here can verify the consent's signature" "put the consent manager's public key into keys/consent-managers/ of the home; keys/README.md";
    ConsentAmbiguous "CONSENT_AMBIGUOUS" "the consent contradicts itself" "have the consent corrected and record it anew";
    Purpose "PURPOSE" "the consent does not cover this purpose" "check the purpose of the case, or ask the patient";
    Recipient "RECIPIENT" "the consent does not name this institution as a recipient" "ask the patient to name the institution in the consent";
    RecipientCountry "RECIPIENT_COUNTRY" "the institution's country is not the one that the consent was given for" "ask the patient again, naming the country";
    DocumentClass "DOCUMENT_CLASS" "the consent does not cover this class of document" "leave the document out, or state its class with --documents";
    Confidentiality "CONFIDENTIALITY" "the document is more confidential than the consent covers" "leave the document out, or ask the patient";
    Sensitivity "SENSITIVITY" "the document has a sensitivity that the consent does not cover" "leave the document out, or ask the patient";
    Date "DATE" "the document lies outside the dates that the consent covers, or has no date" "state its date with --documents, or leave it out";
    RequestIncomplete "REQUEST_INCOMPLETE" "the request lacks something that the decision needs" "complete the case and the documents' descriptions";

    // The institution's policy
    Policy "POLICY" "the institution's policy does not allow this release" "`medseal policy explain BUNDLE` names the rule";
    TransferBasis "TRANSFER_BASIS" "no legal basis is stated for sending records to this country" "state it with `medseal partner add CARD --basis ...`, or record a consent with country and risk notice as docs/CONSENT.md says";
    CountryRestricted "COUNTRY_RESTRICTED" "the law forbids sending records to this country" "do not send; policies/countries.json lists the countries";
    Guardian "GUARDIAN" "nobody who may consent for this patient has consented" "have the parent or guardian checked, and record the consent with the guardian as docs/CONSENT.md says";
    Obligation "OBLIGATION" "something that must go with these records cannot be done, or the partner has not undertaken it" "leave the records out that need it, or state what the partner has undertaken with `medseal partner add CARD --part2`";
    PolicyError "POLICY_ERROR" "the policy could not be evaluated, so the answer is no" "run `medseal policy check` and mend what it names";
    CaseClosed "CASE_CLOSED" "the case is closed" "open a new case";
    PartnerUnknown "PARTNER_UNKNOWN" "no such partner is registered here" "`medseal partner add CARD --fingerprint FP`";
    PartnerSuspended "PARTNER_SUSPENDED" "the partner is suspended" "`medseal partner resume ID` when it may receive again";
    PartnerNotYet "PARTNER_NOT_YET" "the partner's agreement, key or certificate does not count yet" "nothing: medseal tries again; compare the clocks with `medseal partner ping ID`";
    PartnerExpired "PARTNER_EXPIRED" "the partner's card or agreement has ended" "ask the partner for a new card, then `medseal partner add`";
    PartnerNotInvited "PARTNER_NOT_INVITED" "the partner is not part of this case" "open the case with this partner, or choose the right one";
    RecipientKey "RECIPIENT_KEY" "the key that the bundle was sealed to is no longer valid on the partner's card" "send the records again";
    ApprovalNeeded "APPROVAL_NEEDED" "the policy asks for a second person, who has not confirmed this release" "somebody other than the sender looks at it with `medseal policy explain BUNDLE` and says `medseal approve BUNDLE`";
    ApprovalRejected "APPROVAL_REJECTED" "a second person said no to this release" "ask that person; if it was a mistake, send the records again";
    Approver "APPROVER" "this person's approval does not count for this release" "somebody else of the staff must approve it; medseal.toml lists them under [staff]";
    BreakGlassOff "BREAK_GLASS_OFF" "this institution has not switched break-glass on" "record the patient's consent; whether an emergency may do without one, the institution decides in medseal.toml";
    BreakGlassEnded "BREAK_GLASS_ENDED" "the time box of the emergency is over" "record the patient's consent, or ask for break-glass again";
    NotStaff "NOT_STAFF" "this user is not among the staff of this gateway" "the operator lists staff under [staff] in medseal.toml";
    PermitStale "PERMIT_STALE" "the decision grew too old before the bundle left" "nothing: the next attempt decides anew";

    // The documents
    PatientMismatch "PATIENT_MISMATCH" "a document names another patient than the case" "take the file out, or say with --confirm-patient why it belongs to the case";
    BadName "BAD_NAME" "a file has a name that not every system can store" "rename the file";
    NotAFile "NOT_A_FILE" "something in the folder is neither a regular file nor a folder" "copy the content in place of the link or device";
    OwnHome "OWN_HOME" "this belongs to a gateway's home, which holds its private keys" "name the folder that holds the records, and nothing else";
    Unreadable "UNREADABLE" "a file cannot be read" "check that it exists and who may read it";
    FileChanged "FILE_CHANGED" "a file changed while it was read" "wait until the export is complete, then send again";
    EmptyFolder "EMPTY_FOLDER" "a folder holds no file; a bag cannot carry it" "remove the folder, or put a file into it";
    NothingToSend "NOTHING_TO_SEND" "there is no document to send" "name a folder or files that hold something";
    DocumentsList "DOCUMENTS_LIST" "the --documents list does not fit the files" "correct the list: every path it names must exist";
    LimitExceeded "LIMIT_EXCEEDED" "a limit of this gateway is exceeded" "send less at once, or raise the limit in medseal.toml";

    // What was received or opened
    Tampered "TAMPERED" "the content is not what was sealed" "ask the sender to send it again; keep the file as evidence";
    WrongKey "WRONG_KEY" "the key given does not open this bundle" "use the identity that the bundle was sealed to";
    BadSignature "BAD_SIGNATURE" "the signature does not verify" "check the sender's card and fingerprint";
    NotNormalForm "NOT_NORMAL_FORM" "the archive is not in the form that medseal writes" "ask the sender to seal it with medseal, or follow docs/FORMAT.md";
    Recalled "RECALLED" "the sender has recalled this bundle, and its sealed file is destroyed here" "ask the sender; whatever was written out of it before must be destroyed by whoever holds it";
    OutputExists "OUTPUT_EXISTS" "the output folder exists already" "name a folder that does not exist";

    // Identity and trust
    WrongFingerprint "WRONG_FINGERPRINT" "the card's fingerprint is not the one given" "compare the fingerprint by telephone; do not add the card if it differs";
    CardExpired "CARD_EXPIRED" "the card's validity has ended" "ask the partner for a new card";
    CardOutdated "CARD_OUTDATED" "a newer card of this partner is registered" "ask the partner for its newest card";
    BadInput "BAD_INPUT" "the input is not what this command takes" "see the message";
    NotFound "NOT_FOUND" "there is no such thing here" "check the id; the matching `list` command shows what there is";
    Conflict "CONFLICT" "this does not fit the present state" "look at the state with `medseal status` or `medseal case show`";

    // Exchange
    WrongPartner "WRONG_PARTNER" "whoever answers at the partner's address is not the partner; nothing was sent" "compare the endpoint on the partner's card with its operator, and ask for its newest card";
    PartnerUnreachable "PARTNER_UNREACHABLE" "the partner's gateway does not answer" "nothing: medseal tries again; `medseal partner ping ID` tests the line";
    PartnerRefused "PARTNER_REFUSED" "the partner's gateway refused the bundle" "ask the partner's operator, naming the request id";
    PartnerFull "PARTNER_FULL" "the partner's gateway has no room for the bundle at this time" "nothing: medseal tries again; tell the partner's operator to make room";
    BadReceipt "BAD_RECEIPT" "the partner's answer is not a valid receipt for this bundle" "ask the partner's operator; nothing counts as delivered";
    OutcomeUnknown "OUTCOME_UNKNOWN" "the line broke before the answer came" "nothing: medseal asks the partner what it has";
    SentByMistake "SENT_BY_MISTAKE" "it was sent by mistake, or to the wrong recipient" "`medseal status BUNDLE` shows what the partner answered to the recall; what was opened there before must be destroyed by people";
    GaveUp "GAVE_UP" "the limits on attempts or age are reached" "mend the cause, then send again";

    // Erasure and holds
    Erased "ERASED" "this patient's data was erased here" "nothing: the log still shows that there was something, and when";
    LegalHold "LEGAL_HOLD" "a legal hold forbids destroying anything of this patient" "two people lift it with `medseal hold lift` and `medseal hold confirm`, once nobody needs the evidence";
    RetentionOver "RETENTION_OVER" "the time for which this is kept is over, and its sealed file is destroyed here" "nothing: the log shows when; the sender can send it again";
    RetentionUnexpired "RETENTION_UNEXPIRED" "what is on file of this patient must be kept longer" "tell the patient why and until when; [retention] in medseal.toml holds the schedule";

    // The gateway itself
    GatewayAway "GATEWAY_AWAY" "the gateway is not running" "`medseal serve`, or `systemctl start medseal`";
    ReadOnly "READ_ONLY" "the gateway is in read-only mode" "`medseal doctor` says why";
    StoreRolledBack "STORE_ROLLED_BACK" "the store holds less than was signed: it is empty or an old copy" "restore the newest backup of store/ and vault/; never delete head/";
    DiskFull "DISK_FULL" "there is not enough room on the disk" "make room, then send again";
    Internal "INTERNAL" "the gateway could not do it" "see the gateway's own log for the request id";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_upper_case_words_and_differ() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
    }

    #[test]
    fn json_holds_the_code() {
        assert_eq!(serde_json::to_string(&Reason::NoConsent).expect("serialises"), "\"NO_CONSENT\"");
    }
}
