(** Centering alone, scaling alone, constant statistics, the affine phase alone. *)
From Coq Require Import Reals Lra Lia Arith Bool.
From Coquelicot Require Import Coquelicot.
From BNBlind Require Import Definitions Statements Sums Calculus Jacobian Terms Backward.
Open Scope R_scope.

(** A layer that works feature by feature, with the Jacobian [J i] within column [k]. *)
Lemma featurewise_passes n D L (F : batch -> batch) x j k G (J : nat -> R) :
  (k < D)%nat -> differentiable n D L (F x) G ->
  (forall i, (i < n)%nat -> is_partial (fun z => F z i k) x j k (J i)) ->
  (forall i d, (i < n)%nat -> d <> k -> is_partial (fun z => F z i d) x j k 0) ->
  is_partial (fun z => L (F z)) x j k (\sum_(i < n) G i k * J i).
Proof.
  intros Hk HL HJ H0.
  apply (partial_val _ _ _ _
    (\sum_(i < n) \sum_(d < D) G i d * (if Nat.eqb d k then J i else 0))).
  - apply (partial_of_loss n D L F); [exact HL|]. intros i d Hi _.
    destruct (Nat.eqb_spec d k) as [->|N]; auto.
  - rewrite (contract_column n D G (fun i d => if Nat.eqb d k then J i else 0) k Hk).
    + apply fsum_ext; intros i _. now rewrite Nat.eqb_refl.
    + intros i d N. apply Nat.eqb_neq in N. now rewrite N.
Qed.

(** The gradient [G] at one sample, and its mean. *)
Lemma pick_sample n G (j k : nat) c : (j < n)%nat ->
  \sum_(i < n) G i k * (c * delta i j) = c * G j k.
Proof.
  intros Hj. rewrite (fsum_ext n _ (fun i => c * G i k * delta i j)) by (intros; ring).
  now rewrite (fsum_delta n j (fun i => c * G i k)).
Qed.

(** * Constant statistics, and the affine phase *)

Lemma partial_entry_any x i d j k : is_partial (fun z => z i d) x j k (delta i j * delta d k).
Proof.
  destruct (Nat.eq_dec d k) as [->|N].
  - eapply partial_val; [apply partial_entry|]. rewrite delta_eq. ring.
  - eapply partial_val; [now apply partial_entry_other|]. rewrite (delta_neq d) by assumption. ring.
Qed.

Lemma partial_linear_entry a b x i d j k :
  is_partial (fun z => a * z i d + b) x j k (a * (delta i j * delta d k)).
Proof.
  apply (is_derive_val _ _ (a * (delta i j * delta d k) + 0)); [|ring].
  apply (is_derive_plus_R (fun t => a * upd x j k t i d)).
  - apply is_derive_scal, partial_entry_any.
  - apply is_derive_const_R.
Qed.

Theorem affine_passes_holds : affine_passes.
Proof.
  intros n D gamma beta L G x j k Hj Hk HL. rewrite <- (pick_sample n G j k) by assumption.
  apply (featurewise_passes n D L (affine gamma beta) x j k G); try assumption.
  - intros i _. eapply partial_val; [apply partial_linear_entry|]. rewrite delta_eq. ring.
  - intros i d _ N. eapply partial_val; [apply partial_linear_entry|].
    rewrite (delta_neq d) by assumption. ring.
Qed.

Theorem frozen_jacobian_holds : frozen_jacobian.
Proof.
  intros m s x i d j k. destruct (Nat.eq_dec d k) as [->|N].
  - apply (partial_ext (fun z => / s k * z i k + - m k / s k)).
    { intros z. unfold frozen, Rdiv. ring. }
    eapply partial_val; [apply partial_linear_entry|]. unfold Rdiv. ring.
  - apply (partial_ext (fun z => / s d * z i d + - m d / s d)).
    { intros z. unfold frozen, Rdiv. ring. }
    eapply partial_val; [apply partial_linear_entry|].
    rewrite (delta_neq d) by assumption. unfold Rdiv. ring.
Qed.

Theorem frozen_passes_holds : frozen_passes.
Proof.
  intros n D m s L G x j k Hj Hk HL.
  apply (partial_val _ _ _ _ (\sum_(i < n) G i k * (/ s k * delta i j))).
  - apply (featurewise_passes n D L (frozen m s) x j k G); try assumption.
    + intros i _. eapply partial_val; [apply frozen_jacobian_holds|].
      rewrite (delta_eq k). unfold Rdiv. ring.
    + intros i d _ N. eapply partial_val; [apply frozen_jacobian_holds|].
      rewrite (delta_neq d) by assumption. unfold Rdiv. ring.
  - rewrite pick_sample by assumption. unfold Rdiv. ring.
Qed.

Theorem detached_forward_holds : detached_forward.
Proof. intros n eps x i d. reflexivity. Qed.

Theorem detached_jacobian_holds : detached_jacobian.
Proof. intros n eps x i d j k. apply frozen_jacobian_holds. Qed.

Theorem detached_passes_holds : detached_passes.
Proof.
  intros n D eps L G x j k Hj Hk HL.
  now apply (frozen_passes_holds n D (mu n x) (sigma n eps x) L).
Qed.

(** * Centering alone *)

Theorem center_backward_holds : center_backward.
Proof.
  intros n D L G x j k Hj Hk HL.
  apply (partial_val _ _ _ _ (\sum_(i < n) G i k * (delta i j - / INR n))).
  - apply (featurewise_passes n D L (center n) x j k G); try assumption.
    + intros i _. now apply partial_centred.
    + intros i d _ N. unfold is_partial. apply (is_derive_ext (fun _ => center n x i d)).
      * intros t. unfold center. rewrite upd_other by assumption. f_equal.
        apply mu_col. intros i'. symmetry. now apply upd_other.
      * apply is_derive_const_R.
  - rewrite (fsum_ext n _ (fun i => G i k * delta i j - / INR n * G i k)) by (intros; ring).
    rewrite fsum_minus, fsum_delta, fsum_scal by assumption. unfold mean, Rdiv. ring.
Qed.

Theorem center_T1_holds : center_T1.
Proof.
  intros n D g y0 x j k Hn.
  apply (partial_ext (fun _ => - INR n * \sum_(d < D) g d * y0 d)); [|apply partial_const].
  intros z. unfold first_term. rewrite fsum_swap, <- fsum_scal. apply fsum_ext; intros d _.
  rewrite fsum_scal, (fsum_minus n (fun i => center n z i d) (fun _ => y0 d)), fsum_const.
  rewrite (fsum_mean n). unfold center at 1. rewrite mean_centred by assumption. ring. assumption.
Qed.

Theorem center_T2_holds : center_T2.
Proof.
  intros n D H y0 x j k Hj Hk. assert (Hn : (1 <= n)%nat) by lia.
  eapply partial_val; [apply (center_backward_holds n D);
    [assumption | assumption | apply diag_differentiable]|].
  cbv beta.
  rewrite (mean_ext n _ (fun i => H k k * center n x i k + - (H k k * y0 k))) by (intros; ring).
  rewrite mean_plus, mean_scal, mean_const by assumption. unfold center at 2.
  rewrite mean_centred by assumption. ring.
Qed.

(** * Scaling alone *)

Theorem scale_backward_holds : scale_backward.
Proof.
  intros n D eps L G x j k Hj Hk Hv HL.
  apply (partial_val _ _ _ _ (\sum_(i < n) G i k *
    (/ sigma n eps x k * (delta i j - scale n eps x i k * (bn n eps x j k / INR n))))).
  - apply (featurewise_passes n D L (scale n eps) x j k G); try assumption.
    + intros i _. apply (partial_over_sigma n eps x j k Hj Hv (fun z => z i k)).
      apply partial_entry.
    + intros i d _ N. unfold is_partial. apply (is_derive_ext (fun _ => scale n eps x i d)).
      * intros t. unfold scale. rewrite upd_other by assumption. f_equal.
        apply sigma_col. intros i'. symmetry. now apply upd_other.
      * apply is_derive_const_R.
  - rewrite (fsum_ext n _ (fun i => / sigma n eps x k *
      (G i k * delta i j - bn n eps x j k * / INR n * (scale n eps x i k * G i k))))
      by (intros; unfold Rdiv; ring).
    rewrite fsum_scal, fsum_minus, fsum_delta, fsum_scal by assumption. unfold mean, Rdiv. ring.
Qed.

Theorem scale_T2_at_mean_holds : scale_T2_at_mean.
Proof.
  intros n D eps H y0 x j k Hj Hk Hv Hy. assert (Hn : (1 <= n)%nat) by lia.
  assert (Hs := sigma_neq0 n eps x k Hv).
  eapply partial_val;
    [apply (scale_backward_holds n D eps _ _ x j k Hj Hk Hv (diag_differentiable n D H y0 _))|].
  cbv beta. assert (Hm : y0 k = mu n x k / sigma n eps x k).
  { rewrite Hy. unfold scale, Rdiv.
    rewrite (mean_ext n _ (fun i => / sigma n eps x k * x i k)) by (intros; ring).
    rewrite mean_scal. unfold mu. ring. }
  assert (Hc : forall i, scale n eps x i k - y0 k = bn n eps x i k)
    by (intros i; rewrite Hm; unfold scale, bn; field; exact Hs).
  rewrite Hc, (mean_ext n _ (fun i =>
    H k k * bn n eps x i k ^ 2 + H k k * y0 k * bn n eps x i k)).
  - rewrite mean_plus, !mean_scal, mean_bn, mean_bn_sq by assumption.
    unfold diagonal_gradient, bn. assert (Hq := sigma_sq n eps x k Hv).
    replace (var n x k) with (sigma n eps x k ^ 2 - eps) by lra.
    field. split; [lra | exact Hs].
  - intros i _. rewrite <- (Hc i). ring.
Qed.

(** * The batches at which the controls pass: one feature, samples 0 and 1 *)

Lemma two_mu d : mu 2 two d = / 2.
Proof. unfold mu, mean, two. simpl. field. Qed.

Lemma two_var d : var 2 two d = / 4.
Proof. unfold var, mean. cbn [fsum]. rewrite two_mu. unfold two. simpl. field. Qed.

Lemma two_sigma d : sigma 2 0 two d = / 2.
Proof.
  unfold sigma. rewrite two_var, Rplus_0_r.
  replace (/ 4) with (/ 2 * / 2) by field. apply sqrt_square. lra.
Qed.

Theorem center_passes_T2_holds : center_passes_T2.
Proof.
  intros H y0.
  eapply partial_val; [apply (center_backward_holds 2%nat 1%nat);
    [lia | lia | apply diag_differentiable]|].
  unfold mean, center. cbn [fsum]. rewrite !two_mu. unfold two. simpl. field.
Qed.

Theorem scale_passes_T1_holds : scale_passes_T1.
Proof.
  intros g y0.
  eapply partial_val; [apply (scale_backward_holds 2%nat 1%nat);
    [lia | lia | rewrite two_var; lra | apply first_differentiable]|].
  unfold mean, scale, bn. cbn [fsum]. rewrite !two_mu, !two_sigma. unfold two. simpl. field.
Qed.

Theorem scale_passes_T2_holds : scale_passes_T2.
Proof.
  intros H.
  eapply partial_val; [apply (scale_backward_holds 2%nat 1%nat);
    [lia | lia | rewrite two_var; lra | apply diag_differentiable]|].
  unfold mean, scale, bn. cbn [fsum]. rewrite !two_mu, !two_sigma. unfold two. simpl. field.
Qed.
