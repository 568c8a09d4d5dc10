(** T4, the backward pass; from it what passes of the Taylor terms (T1 to T3, T5), and the same
    behind the affine phase. *)
From Coq Require Import Reals Lra Lia Arith Bool.
From Coquelicot Require Import Coquelicot.
From BNBlind Require Import Definitions Statements Sums Calculus Jacobian Terms.
Open Scope R_scope.

(** * T4 *)

Theorem T4_holds : T4.
Proof.
  intros n D eps L G x j k Hj Hk Hv HL. rewrite <- (contract n D) by assumption.
  apply (partial_of_loss n D L (bn n eps)); [exact HL|].
  intros i d _ _. now apply partial_bn.
Qed.

Lemma bn_backward_scal n eps x G c j k :
  bn_backward n eps x (fun i d => c d * G i d) j k = c k * bn_backward n eps x G j k.
Proof.
  unfold bn_backward. rewrite mean_scal.
  rewrite (mean_ext n (fun i => bn n eps x i k * (c k * G i k))
                      (fun i => c k * (bn n eps x i k * G i k))) by (intros; ring).
  rewrite mean_scal. ring.
Qed.

Theorem T4_affine_holds : T4_affine.
Proof.
  intros n D eps gamma beta L G x j k Hj Hk Hv HL.
  rewrite <- bn_backward_scal, <- (contract n D) by assumption.
  apply (partial_val _ _ _ _
    (\sum_(i < n) \sum_(d < D) G i d * (gamma d * jac n eps x j k i d))).
  - apply (partial_of_loss n D L (fun z => affine gamma beta (bn n eps z))); [exact HL|].
    intros i d _ _. apply (partial_ext (fun z => gamma d * bn n eps z i d + beta d)).
    { intros z. unfold affine. ring. }
    apply (is_derive_val _ _ (gamma d * jac n eps x j k i d + 0)); [|ring].
    apply (is_derive_plus_R (fun t => gamma d * bn n eps (upd x j k t) i d)).
    + apply is_derive_scal. now apply partial_bn.
    + apply is_derive_const_R.
  - apply fsum_ext; intros i _. apply fsum_ext; intros d _. ring.
Qed.

Theorem T4_shares_holds : T4_shares.
Proof.
  intros n eps x G k Hn Hv.
  set (y := fun i => bn n eps x i k). set (m := \mean_(i < n) y i * G i k).
  set (a := \mean_(i < n) G i k).
  rewrite (fsum_ext n (fun i => (sigma n eps x k * bn_backward n eps x G i k) ^ 2)
    (fun i => G i k ^ 2 + a ^ 2 + m ^ 2 * y i ^ 2 - 2 * a * G i k - 2 * m * (y i * G i k)
              + 2 * a * m * y i)).
  - assert (My : fsum n y = 0) by (rewrite (fsum_mean n) by assumption; unfold y;
      rewrite mean_bn by assumption; ring).
    assert (MG : \sum_(i < n) G i k = INR n * a) by now apply fsum_mean.
    assert (Mm : \sum_(i < n) y i * G i k = INR n * m) by now apply (fsum_mean n).
    rewrite fsum_plus, !fsum_minus, !fsum_plus, fsum_const, !fsum_scal, MG, Mm.
    change (\sum_(i < n) y i) with (fsum n y). rewrite My. unfold m, a, y. ring.
  - intros i _. unfold bn_backward. fold (y i) a. change (bn n eps x i k) with (y i).
    change (\mean_(i < n) bn n eps x i k * G i k) with m.
    replace (sigma n eps x k * (/ sigma n eps x k * (G i k - a - y i * m)))
      with (G i k - a - y i * m) by (field; now apply sigma_neq0).
    ring.
Qed.

(** * What the backward pass leaves of a gradient with a quadratic part *)

(** The gradient is [a], the same for every sample, plus [K y], plus a remainder [E]. *)
Lemma bn_backward_quadratic n D eps x (a : vector) (K : matrix) (E G : batch) j k :
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k + eps ->
  (forall i, (i < n)%nat ->
     G i k = a k + (\sum_(e < D) K k e * bn n eps x i e) + E i k) ->
  bn_backward n eps x G j k
  = diagonal_gradient n eps K x j k + off_diagonal_gradient n D eps K x j k
    + bn_backward n eps x E j k.
Proof.
  intros Hj Hk Hv HG. assert (Hn : (1 <= n)%nat) by lia. set (y := bn n eps x).
  assert (M1 : \mean_(i < n) G i k = a k + \mean_(i < n) E i k).
  { rewrite (mean_ext n _ _ HG), mean_plus, mean_plus, mean_const, mean_fsum_swap by assumption.
    rewrite (fsum_zero D).
    - ring.
    - intros e _. rewrite mean_scal, mean_bn by assumption. ring. }
  assert (M2 : \mean_(i < n) y i k * G i k
               = (\sum_(e < D) K k e * rho n eps x k e) + \mean_(i < n) y i k * E i k).
  { rewrite (mean_ext n _ (fun i => a k * y i k
      + (\sum_(e < D) K k e * (y i k * y i e)) + y i k * E i k)).
    - rewrite !mean_plus, mean_scal, mean_fsum_swap. unfold y at 1. rewrite mean_bn by assumption.
      rewrite (fsum_ext D _ (fun e => K k e * rho n eps x k e)).
      + ring.
      + intros e _. now rewrite mean_scal.
    - intros i Hi. rewrite HG by assumption.
      rewrite (fsum_ext D (fun e => K k e * (y i k * y i e))
                          (fun e => y i k * (K k e * y i e))) by (intros; ring).
      rewrite fsum_scal. fold y. ring. }
  unfold bn_backward. fold y. rewrite M1, M2, HG by assumption. fold y.
  transitivity (/ sigma n eps x k * (\sum_(e < D) K k e * (y j e - rho n eps x k e * y j k))
    + / sigma n eps x k
      * (E j k - \mean_(i < n) E i k - y j k * \mean_(i < n) y i k * E i k)).
  - rewrite (fsum_ext D (fun e => K k e * (y j e - rho n eps x k e * y j k))
      (fun e => K k e * y j e - K k e * rho n eps x k e * y j k)) by (intros; ring).
    rewrite fsum_minus, fsum_scal_r. ring.
  - rewrite (split_diagonal D k K (fun e => y j e - rho n eps x k e * y j k) Hk).
    rewrite Rmult_plus_distr_l. unfold off_diagonal_gradient. fold y. f_equal. f_equal.
    assert (Hr : rho n eps x k k = var n x k / (var n x k + eps)).
    { rewrite <- mean_bn_sq by assumption. apply mean_ext; intros; ring. }
    rewrite Hr. unfold diagonal_gradient, y, bn. assert (Hs := sigma_neq0 n eps x k Hv).
    assert (Hq := sigma_sq n eps x k Hv).
    replace (var n x k) with (sigma n eps x k ^ 2 - eps) by lra.
    field. split; [lra | exact Hs].
Qed.

Lemma bn_backward_zero n eps x j k : bn_backward n eps x (fun _ _ => 0) j k = 0.
Proof.
  transitivity (bn_backward n eps x (fun i d => 0 * 0) j k).
  - unfold bn_backward. f_equal. rewrite Rmult_0_l. ring.
  - rewrite (bn_backward_scal n eps x (fun _ _ => 0) (fun _ => 0)). ring.
Qed.

(** The same for a loss. *)
Lemma quadratic_passes n D eps L a K G x j k :
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k + eps ->
  differentiable n D L (bn n eps x) G ->
  (forall i, (i < n)%nat -> G i k = a k + \sum_(e < D) K k e * bn n eps x i e) ->
  is_partial (fun z => L (bn n eps z)) x j k
    (diagonal_gradient n eps K x j k + off_diagonal_gradient n D eps K x j k).
Proof.
  intros Hj Hk Hv HL HG. eapply partial_val; [now apply (T4_holds n D eps L G)|].
  rewrite (bn_backward_quadratic n D eps x a K (fun _ _ => 0) G) by
    (try assumption; intros i Hi; rewrite HG by assumption; ring).
  rewrite bn_backward_zero. ring.
Qed.

(** ... and for a loss behind the affine phase. *)
Lemma quadratic_passes_affine n D eps gamma beta L a K G x j k :
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k + eps ->
  differentiable n D L (affine gamma beta (bn n eps x)) G ->
  (forall i, (i < n)%nat -> G i k = a k + \sum_(e < D) K k e * bn n eps x i e) ->
  is_partial (fun z => L (affine gamma beta (bn n eps z))) x j k
    (gamma k * (diagonal_gradient n eps K x j k + off_diagonal_gradient n D eps K x j k)).
Proof.
  intros Hj Hk Hv HL HG. eapply partial_val; [now apply (T4_affine_holds n D eps gamma beta L G)|].
  rewrite (bn_backward_quadratic n D eps x a K (fun _ _ => 0) G) by
    (try assumption; intros i Hi; rewrite HG by assumption; ring).
  rewrite bn_backward_zero. ring.
Qed.

(** The diagonal of a matrix, and what is beside it. *)
Definition diagonal (H : matrix) : matrix := fun d e => delta d e * H d d.

Lemma diagonal_row D k (H : matrix) f : (k < D)%nat ->
  \sum_(e < D) diagonal H k e * f e = H k k * f k.
Proof.
  intros Hk. rewrite <- (pick_row D k (fun e => H k k * f e) Hk).
  apply fsum_ext; intros e _. unfold diagonal. ring.
Qed.

Lemma off_diagonal_gradient_zero n D eps K x j k :
  (forall e, (e < D)%nat -> k <> e -> K k e = 0) -> off_diagonal_gradient n D eps K x j k = 0.
Proof.
  intros E. unfold off_diagonal_gradient. rewrite fsum_zero; [ring|].
  intros e He. unfold off_diagonal. destruct (Nat.eqb_spec k e) as [|N]; [ring|].
  rewrite E by assumption. ring.
Qed.

Lemma off_diagonal_gradient_ext n D eps K K' x j k :
  (forall e, (e < D)%nat -> k <> e -> K k e = K' k e) ->
  off_diagonal_gradient n D eps K x j k = off_diagonal_gradient n D eps K' x j k.
Proof.
  intros E. unfold off_diagonal_gradient. f_equal. apply fsum_ext; intros e He.
  unfold off_diagonal. destruct (Nat.eqb_spec k e) as [|N]; [ring|]. now rewrite E.
Qed.

(** * T1 *)

Theorem T1_value_holds : T1_value.
Proof.
  intros n D eps g y0 x Hn. unfold first_term. rewrite fsum_swap, <- fsum_scal.
  apply fsum_ext; intros d _.
  rewrite fsum_scal, (fsum_minus n (fun i => bn n eps x i d) (fun _ => y0 d)), fsum_const.
  rewrite (fsum_mean n), mean_bn by assumption. ring.
Qed.

Theorem T1_holds : T1.
Proof.
  intros n D eps g y0 x j k Hn.
  apply (partial_ext (fun _ => - INR n * \sum_(d < D) g d * y0 d)).
  - intros z. symmetry. now apply T1_value_holds.
  - apply partial_const.
Qed.

Theorem T1_affine_holds : T1_affine.
Proof.
  intros n D eps gamma beta g z0 x j k Hn.
  apply (partial_ext (fun z => first_term n D (fun d => g d * gamma d) (fun _ => 0) (bn n eps z)
                               + INR n * \sum_(d < D) g d * (beta d - z0 d))).
  - intros z. unfold first_term, affine. rewrite <- fsum_const, <- fsum_plus.
    apply fsum_ext; intros i _. rewrite <- fsum_plus. apply fsum_ext; intros d _. ring.
  - apply (is_derive_val _ _ (0 + 0)); [|ring].
    apply (is_derive_plus_R (fun t =>
      first_term n D (fun d => g d * gamma d) (fun _ => 0) (bn n eps (upd x j k t)))).
    + now apply T1_holds.
    + apply is_derive_const_R.
Qed.

(** * T2 *)

Lemma diagonal_gradient_at_0 n H x j k :
  0 < var n x k -> diagonal_gradient n 0 H x j k = 0.
Proof. intros Hv. unfold diagonal_gradient. field. lra. Qed.

Theorem T2_holds : T2.
Proof.
  intros n D eps H y0 x j k Hj Hk Hv. eapply partial_val.
  - apply (quadratic_passes n D eps _ (fun d => - H d d * y0 d) (diagonal H) _ x j k Hj Hk Hv
             (diag_differentiable n D H y0 _)).
    intros i _. rewrite diagonal_row by assumption. ring.
  - rewrite off_diagonal_gradient_zero.
    + unfold diagonal_gradient, diagonal. rewrite delta_eq. field. lra.
    + intros e _ N. unfold diagonal. rewrite delta_neq by assumption. ring.
Qed.

Theorem T2_blocked_holds : T2_blocked.
Proof.
  intros n D H y0 x j k Hj Hk Hv. eapply partial_val; [apply T2_holds; try assumption; lra|].
  now apply diagonal_gradient_at_0.
Qed.

Theorem T2_affine_holds : T2_affine.
Proof.
  intros n D eps gamma beta H z0 x j k Hj Hk Hv. eapply partial_val.
  - apply (quadratic_passes_affine n D eps gamma beta _ (fun d => H d d * (beta d - z0 d))
             (diagonal (fun d e => H d e * gamma e)) _ x j k Hj Hk Hv
             (diag_differentiable n D H z0 _)).
    intros i _. rewrite diagonal_row by assumption. unfold affine. ring.
  - rewrite off_diagonal_gradient_zero.
    + unfold diagonal_gradient, diagonal. rewrite delta_eq. field. lra.
    + intros e _ N. unfold diagonal. rewrite delta_neq by assumption. ring.
Qed.

Theorem T2_affine_blocked_holds : T2_affine_blocked.
Proof.
  intros n D gamma beta H z0 x j k Hj Hk Hv.
  eapply partial_val; [apply T2_affine_holds; try assumption; lra|].
  rewrite diagonal_gradient_at_0 by assumption. ring.
Qed.

(** * T3 *)

Lemma diagonal_gradient_zero n eps K x j k : K k k = 0 -> diagonal_gradient n eps K x j k = 0.
Proof. intros E. unfold diagonal_gradient. rewrite E. unfold Rdiv. ring. Qed.

Lemma off_diagonal_at k H : off_diagonal H k k = 0.
Proof. unfold off_diagonal. now rewrite Nat.eqb_refl. Qed.

Theorem T3_holds : T3.
Proof.
  intros n D eps H y0 x j k Hj Hk Hv Hsym. eapply partial_val.
  - apply (quadratic_passes n D eps _ (fun d => - \sum_(e < D) off_diagonal H d e * y0 e)
             (off_diagonal H) _ x j k Hj Hk Hv (offdiag_differentiable n D H y0 _ Hsym)).
    intros i _. rewrite (fsum_ext D _ (fun e =>
      off_diagonal H k e * bn n eps x i e - off_diagonal H k e * y0 e)) by (intros; ring).
    rewrite fsum_minus. ring.
  - rewrite diagonal_gradient_zero by apply off_diagonal_at.
    rewrite (off_diagonal_gradient_ext n D eps (off_diagonal H) H); [ring|].
    intros e _ N. unfold off_diagonal. apply Nat.eqb_neq in N. now rewrite N.
Qed.

Theorem T3_affine_holds : T3_affine.
Proof.
  intros n D eps gamma beta H z0 x j k Hj Hk Hv Hsym. eapply partial_val.
  - apply (quadratic_passes_affine n D eps gamma beta _
             (fun d => \sum_(e < D) off_diagonal H d e * (beta e - z0 e))
             (fun d e => off_diagonal H d e * gamma e) _ x j k Hj Hk Hv
             (offdiag_differentiable n D H z0 _ Hsym)).
    intros i _. rewrite <- fsum_plus. apply fsum_ext; intros e _. unfold affine. ring.
  - rewrite diagonal_gradient_zero by (rewrite off_diagonal_at; ring).
    unfold off_diagonal_gradient. rewrite Rplus_0_l, <- !fsum_scal. apply fsum_ext; intros e _.
    unfold off_diagonal. destruct (Nat.eqb k e); ring.
Qed.

(** * T5 *)

Theorem T5_with_remainder_holds : T5_with_remainder.
Proof.
  intros n D eps L g H y0 E x j k Hj Hk Hv HL.
  eapply partial_val; [apply (T4_holds n D eps L _ x j k Hj Hk Hv HL)|].
  apply (bn_backward_quadratic n D eps x (fun d => g d - \sum_(e < D) H d e * y0 e));
    try assumption.
  intros i _. rewrite (fsum_ext D _ (fun e => H k e * bn n eps x i e - H k e * y0 e))
    by (intros; ring).
  rewrite fsum_minus. ring.
Qed.

Theorem T5_holds : T5.
Proof.
  intros n D eps c g H y0 x j k Hj Hk Hv Hsym.
  eapply partial_val; [apply (T5_with_remainder_holds n D eps _ g H y0 (fun _ _ => 0)
    x j k Hj Hk Hv)|].
  - eapply differentiable_val; [|now apply taylor2_differentiable].
    intros i d _ _. cbv beta. ring.
  - rewrite bn_backward_zero. ring.
Qed.

Theorem T5_blocked_holds : T5_blocked.
Proof.
  intros n D c g H y0 x j k Hj Hk Hv Hdiag.
  eapply partial_val; [apply T5_holds; try assumption; [lra|]|].
  - intros d e Hd He. destruct (Nat.eq_dec d e) as [->|N]; [reflexivity|].
    rewrite !Hdiag by auto. reflexivity.
  - rewrite diagonal_gradient_at_0, off_diagonal_gradient_zero by auto. ring.
Qed.
