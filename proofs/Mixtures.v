(** T7: what centering blocks where the samples of a batch have different losses. *)
From Coq Require Import Reals Lra Lia Arith Bool.
From Coquelicot Require Import Coquelicot.
From BNBlind Require Import Definitions Statements Sums Calculus Jacobian Backward Controls.
Open Scope R_scope.

(** Counting a function of the loss by losses. *)
Lemma mean_by_loss n K t (f : nat -> R) : (forall i, (i < n)%nat -> (t i < K)%nat) ->
  \mean_(i < n) f (t i) = \sum_(k < K) share n t k * f k.
Proof.
  intros Ht. transitivity (\mean_(i < n) \sum_(k < K) f k * delta k (t i)).
  - apply mean_ext; intros i Hi. symmetry. apply fsum_delta. auto.
  - rewrite mean_fsum_swap. apply fsum_ext; intros k _. rewrite mean_scal, Rmult_comm. f_equal.
    unfold share. apply mean_ext; intros i _. unfold delta. now rewrite Nat.eqb_sym.
Qed.

Theorem T7_passes_holds : T7_passes.
Proof.
  intros n D K t g y0 x j k Hj Hk Ht. eapply partial_val.
  - apply center_backward_holds with (D := D)
      (L := fun y => \sum_(i < n) \sum_(d < D) g (t i) d * (y i d - y0 d))
      (G := fun i d => g (t i) d); auto.
    intros e He. exists 1. split; [lra|]. intros Z _.
    rewrite <- fsum_minus, <- fsum_minus, fsum_zero.
    + rewrite Rabs_R0. apply Rmult_le_pos; [lra|].
      apply fsum_nonneg; intros i _. apply fsum_nonneg; intros d _. apply Rabs_pos.
    + intros i _. rewrite <- fsum_minus, <- fsum_minus. apply fsum_zero; intros d _. ring.
  - simpl. f_equal. unfold mixture. now rewrite (mean_by_loss n K t (fun c => g c k)).
Qed.

Theorem T7_holds : T7.
Proof.
  intros n D K t g Hn Ht. split.
  - now apply (mean_by_loss n K t (fun c => squared_length D (g c))).
  - unfold squared_length at 1 2. rewrite !mean_fsum_swap. unfold squared_length.
    rewrite <- fsum_minus. apply fsum_ext; intros d _.
    set (m := mixture K (share n t) g d).
    assert (E : \mean_(i < n) g (t i) d = m).
    { unfold m, mixture. now rewrite (mean_by_loss n K t (fun c => g c d)). }
    transitivity (\mean_(i < n) (g (t i) d ^ 2 + (-2 * m * g (t i) d + m ^ 2))).
    + apply mean_ext; intros i _. ring.
    + rewrite !mean_plus, mean_scal, mean_const, E by assumption. ring.
Qed.

Theorem T7_shares_holds : T7_shares.
Proof.
  intros n K t Hn Ht. rewrite (fsum_ext K _ (fun k => share n t k * 1)) by (intros; ring).
  rewrite <- (mean_by_loss n K t (fun _ => 1)) by assumption. now apply mean_const.
Qed.

(** The squared length of a combination of vectors with one length and one inner product. *)
Lemma squared_length_alike C D J l m (a : vector) :
  (forall c e, (c < C)%nat -> (e < C)%nat ->
    \sum_(d < D) J c d * J e d = if Nat.eqb c e then l else m) ->
  squared_length D (fun d => \sum_(c < C) a c * J c d)
  = (l - m) * (\sum_(c < C) a c ^ 2) + m * (\sum_(c < C) a c) ^ 2.
Proof.
  intros E. unfold squared_length.
  transitivity (\sum_(d < D) \sum_(c < C) \sum_(e < C) a c * a e * (J c d * J e d)).
  - apply fsum_ext; intros d _. rewrite <- Rsqr_pow2. unfold Rsqr.
    rewrite <- fsum_scal_r. apply fsum_ext; intros c _. rewrite <- fsum_scal.
    apply fsum_ext; intros e _. ring.
  - rewrite fsum_swap.
    transitivity (\sum_(c < C) ((l - m) * a c ^ 2 + m * (\sum_(e < C) a e) * a c)).
    + apply fsum_ext; intros c Hc. rewrite fsum_swap.
      transitivity (\sum_(e < C) ((l - m) * a c * (a e * delta e c) + m * a c * a e)).
      * apply fsum_ext; intros e He. rewrite fsum_scal, E by assumption. unfold delta.
        rewrite (Nat.eqb_sym e c). destruct (Nat.eqb c e); ring.
      * rewrite fsum_plus, fsum_scal, fsum_scal, fsum_delta by assumption.
        change (\sum_(e < C) a e) with (fsum C a). ring.
    + rewrite fsum_plus, fsum_scal, fsum_scal. change (\sum_(e < C) a e) with (fsum C a). ring.
Qed.

Theorem T7_alike_holds : T7_alike.
Proof.
  intros C D J l m w HC Hw E g. assert (PC := INR_neq0 C HC). change (fsum C w = 1) in Hw.
  assert (L : forall k, (k < C)%nat -> squared_length D (g k) = (l - m) * (1 - / INR C)).
  { intros k Hk. unfold g. rewrite (squared_length_alike C D J l m) by assumption.
    rewrite fsum_minus, fsum_const.
    rewrite (fsum_ext C (fun c => delta c k) (fun c => 1 * delta c k)) by (intros; ring).
    rewrite (fsum_delta C k (fun _ => 1)) by assumption.
    rewrite (fsum_ext C (fun c => (/ INR C - delta c k) ^ 2)
      (fun c => / INR C ^ 2 + (1 - 2 * / INR C) * delta c k)).
    - rewrite fsum_plus, fsum_const.
      rewrite (fsum_delta C k (fun _ => 1 - 2 * / INR C)) by assumption. field. assumption.
    - intros c _. unfold delta. destruct (Nat.eqb c k); field; assumption. }
  rewrite (fsum_ext C (fun k => w k * squared_length D (g k))
    (fun k => w k * ((l - m) * (1 - / INR C)))) by (intros k Hk; now rewrite L).
  rewrite fsum_scal_r. change (\sum_(k < C) w k) with (fsum C w). rewrite Hw.
  assert (M : squared_length D (mixture C w g) = (l - m) * ((\sum_(k < C) w k ^ 2) - / INR C)).
  { transitivity (squared_length D (fun d => \sum_(c < C) (/ INR C - w c) * J c d)).
    - unfold squared_length. apply fsum_ext; intros d _. f_equal. unfold mixture, g.
      transitivity (\sum_(c < C) \sum_(k < C) w k * ((/ INR C - delta c k) * J c d)).
      + rewrite fsum_swap. apply fsum_ext; intros k _. now rewrite <- fsum_scal.
      + apply fsum_ext; intros c Hc.
        transitivity (\sum_(k < C) (/ INR C * J c d * w k + - J c d * (w k * delta k c))).
        * apply fsum_ext; intros k _. unfold delta. rewrite (Nat.eqb_sym c k).
          destruct (Nat.eqb k c); ring.
        * rewrite fsum_plus, fsum_scal, fsum_scal, fsum_delta by assumption.
          change (\sum_(k < C) w k) with (fsum C w). rewrite Hw. ring.
    - rewrite (squared_length_alike C D J l m) by assumption.
      rewrite fsum_minus, fsum_const. change (\sum_(c < C) w c) with (fsum C w). rewrite Hw.
      rewrite (fsum_ext C (fun c => (/ INR C - w c) ^ 2)
        (fun c => (/ INR C) ^ 2 + (w c ^ 2 + (-2 * / INR C) * w c))) by (intros; ring).
      rewrite fsum_plus, fsum_plus, fsum_const, fsum_scal.
      change (\sum_(c < C) w c) with (fsum C w). rewrite Hw. field. assumption. }
  rewrite M. ring.
Qed.
