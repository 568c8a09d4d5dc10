(** How to read the statements, and batches at which the formulas of T2 and T3 are not zero. *)
From Coq Require Import Reals Lra Lia Arith Bool.
From Coquelicot Require Import Coquelicot.
From BNBlind Require Import Definitions Statements Sums Calculus Jacobian Backward Controls.
Open Scope R_scope.

Theorem partial_unique_holds : partial_unique.
Proof.
  intros F x j k v w Hv Hw. apply is_derive_unique in Hv. apply is_derive_unique in Hw.
  now rewrite <- Hv, <- Hw.
Qed.

Theorem upd_replaces_holds : upd_replaces.
Proof.
  intros x j k t i d. unfold upd. split; [now rewrite !Nat.eqb_refl|].
  intros N. destruct (Nat.eqb_spec i j), (Nat.eqb_spec d k); simpl; tauto.
Qed.

Theorem sum_is_coquelicots_holds : sum_is_coquelicots.
Proof. intros m f. apply fsum_sum_n. Qed.

Theorem log_inverts_exp_holds : log_inverts_exp.
Proof. exact exp_log. Qed.

Theorem one_sample_has_no_variance_holds : one_sample_has_no_variance.
Proof. intros x d. unfold var, mu, mean. simpl. field. Qed.

(** T2 with eps = 1 at the samples 0 and 1. *)
Theorem T2_leaks_holds : T2_leaks.
Proof.
  eapply partial_val; [apply T2_holds; [lia | lia | rewrite two_var; lra]|].
  unfold diagonal_gradient. rewrite two_mu, two_var. unfold two. simpl. field.
Qed.

(** T3 at the four corners of a square. *)
Lemma four_mu d : (d < 2)%nat -> mu 4 four d = 0.
Proof.
  intros Hd. unfold mu, mean, four. destruct d as [|[|d]]; [| |lia]; simpl; field.
Qed.

Lemma four_var d : (d < 2)%nat -> var 4 four d = 1.
Proof.
  intros Hd. unfold var, mean. rewrite (fsum_ext 4 _ (fun _ => 1)).
  - simpl. field.
  - intros i Hi. rewrite four_mu by assumption. unfold four.
    destruct d as [|[|d]]; [| |lia]; destruct i as [|[|[|[|i]]]]; try lia; simpl; ring.
Qed.

Lemma four_sigma d : (d < 2)%nat -> sigma 4 0 four d = 1.
Proof. intros Hd. unfold sigma. rewrite four_var, Rplus_0_r by assumption. apply sqrt_1. Qed.

Lemma four_bn i d : (d < 2)%nat -> bn 4 0 four i d = four i d.
Proof. intros Hd. unfold bn. rewrite four_mu, four_sigma by assumption. field. Qed.

Lemma four_rho : rho 4 0 four 0 1 = 0.
Proof.
  unfold rho, mean. rewrite (fsum_ext 4 _ (fun i => four i 0%nat * four i 1%nat)).
  - unfold four. simpl. field.
  - intros i _. now rewrite !four_bn by lia.
Qed.

Theorem T3_passes_holds : T3_passes.
Proof.
  intros H Hsym. eapply partial_val.
  - apply T3_holds; [lia | lia | rewrite four_var by lia; lra | exact Hsym].
  - unfold off_diagonal_gradient. simpl. rewrite four_rho, four_sigma, !four_bn by lia.
    unfold off_diagonal, four. simpl. field.
Qed.
