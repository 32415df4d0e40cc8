//! The letters of the sample case: the hospital's discharge summary and the expert's opinion.
//!
//! Rule: what a letter says fits the other documents of the case, to the day and the millimetre.

use super::pdf::{Colour, Letter, Letterhead};

const ABOUT: [(&str, &str); 4] =
    [("Patient", "Liisu Õunapuu"), ("Born", "17 April 1988"), ("Patient no.", "SK-204188"), ("Sex", "female")];

/// The discharge summary that comes with the question.
pub(super) fn discharge_summary() -> Vec<u8> {
    let head = Letterhead {
        institution: "Saaremere Regional Hospital",
        department: "Department of Neurosurgery",
        address: "Lahe 2, Saaremere, Estonia",
        colour: Colour(60, 290, 420),
    };
    let about = [
        ABOUT.as_slice(),
        &[("Admitted", "2 September 2025"), ("Discharged", "12 September 2025")],
        &[("Ward", "Neurosurgery B3"), ("Completed", "22 September 2025")],
    ]
    .concat();
    let mut letter = Letter::new(head, "Discharge summary", &about);
    letter.callout("Astrocytoma, IDH-mutant, CNS WHO grade 2, left superior frontal gyrus. Seizure-free on levetiracetam, no neurological deficit. Second opinion on treatment is sought.");
    letter.heading("Diagnoses");
    letter.list(&[
        "Astrocytoma, IDH-mutant, CNS WHO grade 2 (WHO 2021), left superior frontal gyrus, 34 x 28 x 26 mm; histology of 19 September 2025.",
        "Structural focal epilepsy: one focal to bilateral tonic-clonic seizure on 2 September 2025.",
    ]);
    letter.heading("History");
    letter.text("The patient, 37 years old, right-handed, a cartographer, was brought in by ambulance after a first seizure at work: jerking of the right hand for about a minute, then loss of consciousness and bilateral tonic-clonic movements for two minutes. Colleagues report no earlier event. In the preceding months she had noticed occasional brief difficulty in starting to write. No headache, no vomiting, no fever. No previous illness, no regular medication, no known allergies. No family history of tumours or epilepsy.");
    letter.heading("Findings on admission");
    letter.text("Awake, fully oriented, GCS 15. Todd's paresis of the right hand (MRC 4/5), resolved after six hours. Cranial nerves, sensation and coordination normal. Language: fluent, naming intact. Blood pressure 128/78 mmHg, pulse 84/min, temperature 36.8 °C. Karnofsky performance status 90.");
    letter.heading("Investigations");
    letter.table(&[
        (
            "CT head, 2 Sep",
            "Without contrast: ill-defined hypodense lesion of the left superior frontal gyrus, no haemorrhage, no calcification, no midline shift. The series is enclosed (ct/).",
        ),
        (
            "MRI, 3 Sep",
            "3 T, with gadolinium: T2/FLAIR hyperintense lesion, 34 x 28 x 26 mm, T2/FLAIR mismatch sign present, no enhancement, no diffusion restriction. rCBV not raised. The posterior border reaches the supplementary motor area.",
        ),
        (
            "Functional MRI",
            "Hand motor area 9 mm behind the lesion; language lateralised to the left; no overlap with the lesion. Tractography: corticospinal tract displaced, not infiltrated.",
        ),
        ("EEG, 4 Sep", "Intermittent left frontal slowing, no epileptiform discharges."),
        ("Neuropsychology", "Mild slowing in verbal fluency (percentile 14), otherwise within the norm."),
        ("Laboratory", "Blood count, electrolytes, liver and kidney values, coagulation: within the norm."),
    ]);
    letter.heading("Procedure");
    letter.text("9 September 2025: frameless stereotactic biopsy, left frontal, under general anaesthesia (Dr. K. Rebane). Five cores and one frozen core. Uneventful; the CT six hours later showed no haemorrhage.");
    letter.heading("Pathology");
    letter.text("Astrocytoma, IDH-mutant, CNS WHO grade 2. IDH1 R132H mutated, ATRX lost, 1p/19q intact, no homozygous deletion of CDKN2A/B, MGMT promoter methylated, Ki-67 3 %. Full report enclosed (pathology-report.xml).");
    letter.heading("Course and medication at discharge");
    letter.text(
        "No further seizure on levetiracetam. Wound healing without complication. Discharged home in good condition.",
    );
    letter.table(&[
        ("Levetiracetam", "500 mg by mouth, morning and evening"),
        ("Paracetamol", "500 mg by mouth if needed, up to four times a day"),
    ]);
    letter.heading("Assessment");
    letter.text("Our tumour conference of 22 September 2025 did not reach consensus. Arguments for surveillance: low grade, full function, border at the supplementary motor area. Arguments for early surgery: size, seizure, young age, a possible sampling error of the biopsy. Until the second opinion is here, we plan active surveillance with MRI every three months.");
    letter.callout("Question to the expert: early maximal safe resection with awake mapping, or active surveillance with MRI every three months? Would you treat with an IDH inhibitor, and when?");
    letter.heading("Follow-up");
    letter.list(&[
        "Neurosurgical outpatient clinic on 6 October 2025, with the second opinion if available.",
        "MRI with the same protocol in the first week of December 2025.",
        "No driving until the neurological review; the patient was told so and has confirmed it.",
        "The patient consented in writing to the release of these records to the institution named in the consent.",
    ]);
    letter.signature(
        "Dr. Kaarel Rebane",
        "Consultant neurosurgeon, EE-NSURG-0098",
        "Signed electronically on 22 September 2025",
    );
    letter.finish()
}

/// The expert's written opinion.
pub(super) fn opinion() -> Vec<u8> {
    let head = Letterhead {
        institution: "Nordhafen University Hospital",
        department: "Centre for Neuro-Oncology",
        address: "Am Speicher 11, Nordhafen, Germany",
        colour: Colour(250, 200, 420),
    };
    let about = [ABOUT.as_slice(), &[("Asked by", "Saaremere Regional Hospital"), ("Opinion of", "29 September 2025")]]
        .concat();
    let mut letter = Letter::new(head, "Second opinion", &about);
    letter.callout("We recommend early maximal safe resection with awake mapping, rather than surveillance of the untreated tumour. The diagnosis is confirmed; the treatment plan changes.");
    letter.heading("Question");
    letter.text("Early maximal safe resection with awake mapping, or active surveillance with MRI every three months? Would you treat with an IDH inhibitor, and when?");
    letter.heading("What we reviewed");
    letter.list(&[
        "Discharge summary of 12 September 2025, completed on 22 September 2025.",
        "Pathology report of 19 September 2025 (P-25-08117).",
        "CT head of 2 September 2025, five images. The MRI itself was not part of the records; we rely on its written findings.",
        "Patient summary of 22 September 2025.",
    ]);
    letter.heading("Diagnosis");
    letter.text("We agree: astrocytoma, IDH-mutant, CNS WHO grade 2. Imaging (no enhancement, T2/FLAIR mismatch, rCBV not raised) and the molecular profile, in particular the intact CDKN2A/B, are consistent with each other. As the biopsy is small, a focus of higher grade is not excluded; a larger specimen would settle this as well.");
    letter.heading("Recommendation");
    letter.list(&[
        "Maximal safe resection within four to eight weeks, as an awake craniotomy with cortical and subcortical mapping of motor and language function. Extent of resection is the strongest factor that can be influenced; a residual volume as small as possible is the aim, function comes first.",
        "Before surgery: the MRI data for our review, including FLAIR volume and tractography; repeat neuropsychology as the baseline. A transient supplementary motor area syndrome should be discussed with the patient; it usually resolves within weeks.",
        "After complete or near-complete resection and confirmed grade 2: surveillance with MRI every three months in the first two years. No immediate radiotherapy or chemotherapy.",
        "With a residual tumour of 1 cm or more and no need for immediate radiochemotherapy: an IDH inhibitor (vorasidenib) is an option, with monitoring of liver values; contraception must be discussed. We would not use it in place of surgery that is feasible.",
        "Signs of grade 3 or more in the specimen: radiotherapy followed by temozolomide, to be discussed again.",
        "Levetiracetam as before; no change is needed while she is free of seizures.",
    ]);
    letter.heading("Certainty and limits");
    letter.text("The recommendation for early resection rests on consistent but mostly observational evidence. It is given on the records alone, without examination of the patient, and supports the decision of the treating physicians, who remain responsible. Please send us the MRI; we will amend this opinion if it shows otherwise.");
    letter.table(&[
        ("Outcome", "Diagnosis confirmed; treatment modified"),
        ("Urgency", "Elective, within four to eight weeks"),
        ("Conference", "Offered: 40 minutes with the treating team and the patient, at your convenience"),
    ]);
    letter.signature(
        "Prof. Annika Thorvald",
        "Director, Centre for Neuro-Oncology, DE-NSURG-2271",
        "Signed electronically on 29 September 2025",
    );
    letter.finish()
}
